"""The transfer function T: its published initialisation, its structure and its conditioned start."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.weight_transfer import WeightTransfer


def _transfer(**changes: Any) -> WeightTransfer:
    arguments: dict[str, Any] = {
        "in_dim": 5120, "out_dim": 256, "layers": 2, "activation": "leaky_relu", "leaky_slope": 0.1,
        "zero_start": False, "shared": False,
    }  # fmt: skip
    return WeightTransfer(**{**arguments, **changes})


def _linears(transfer: WeightTransfer) -> list[nn.Linear]:
    return [layer for layer in transfer.layers if isinstance(layer, nn.Linear)]


def test_published_layers_start_as_gaussians_of_fan_out() -> None:
    """MSRAFill takes fan_out: std sqrt(2 / 256) = .0884 in both layers, biases 0 (facts of the authors' code)."""
    torch.manual_seed(0)
    for linear in _linears(_transfer()):
        assert linear.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.02)
        assert linear.weight.mean().item() == pytest.approx(0, abs=1e-3)
        assert linear.weight.abs().max().item() > 3 * math.sqrt(2 / 256)  # Gaussian, not uniform
        assert linear.bias is not None
        assert not linear.bias.any()


@pytest.mark.parametrize(("layers", "parameters"), [(1, 1_310_976), (2, 1_376_768), (3, 1_442_560)])
def test_the_number_of_parameters_is_the_papers(layers: int, parameters: int) -> None:
    """5120 -> 256 (-> 256 -> 256): 1.31M, 1.377M, 1.443M."""
    assert sum(p.numel() for p in _transfer(layers=layers).parameters()) == parameters


def test_the_activation_is_between_layers_only() -> None:
    """The last layer is linear: weights of the mask predictor may be negative."""
    transfer = _transfer(in_dim=4, out_dim=64, activation="relu")
    assert transfer(torch.randn(10, 4)).min() < 0
    assert isinstance(transfer.layers[-1], nn.Linear)


def test_leaky_relu_has_the_given_slope() -> None:
    """The hidden activation multiplies negative values by leaky_slope."""
    transfer = _transfer(in_dim=1, out_dim=1, leaky_slope=0.25)
    first, last = _linears(transfer)
    nn.init.ones_(first.weight)
    nn.init.ones_(last.weight)
    assert transfer(torch.tensor([[-2.0], [2.0]])).tolist() == [[-0.5], [2.0]]


def test_zero_start_with_shared_weights_is_the_shared_weights_exactly() -> None:
    """Before training, every category has the same kernel, bit for bit, near zero as the class-agnostic one."""
    transfer = _transfer(in_dim=16, layers=1, activation="none", zero_start=True, shared=True)
    weights = transfer(torch.randn(7, 16))
    assert transfer.shared_weights is not None
    assert torch.equal(weights, transfer.shared_weights.expand(7, -1))
    assert transfer.shared_weights.std().item() == pytest.approx(0.001, rel=0.2)


def test_shared_weights_take_the_place_of_the_last_bias() -> None:
    """A bias beside shared weights would be the same parameter twice, with another learning rate."""
    assert all(linear.bias is None for linear in _linears(_transfer(layers=1, shared=True)))


def test_a_zero_start_still_learns() -> None:
    """The zeroed last layer gets a gradient from the first step."""
    transfer = _transfer(in_dim=3, out_dim=4, layers=1, zero_start=True, shared=True)
    transfer(torch.ones(2, 3)).sum().backward()
    gradient = _linears(transfer)[0].weight.grad
    assert gradient is not None
    assert gradient.abs().min() > 0


@pytest.mark.parametrize(("changes", "text"), [({"layers": 0}, "at least one layer"), ({"activation": "tanh"}, "tanh")])
def test_an_impossible_structure_is_an_error(changes: dict[str, Any], text: str) -> None:
    """No layers, or an unknown activation, is refused by name."""
    with pytest.raises(ConfigError, match=text):
        _transfer(**changes)
