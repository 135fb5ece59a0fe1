"""The transfer function T: its published initialisation, its structure and its conditioned start."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.weight_transfer import Similarities, WeightTransfer


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


def _similarities(count: int = 5, std: float = 0.3) -> Similarities:
    return Similarities(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)), std=std)


def test_similarities_are_gaussians_of_half_the_median_distance() -> None:
    """exp(-d^2 / (2 (m / 2)^2)), scaled so that those among the centres have the std asked for."""
    similarities = _similarities()
    centres = similarities.centres
    squared = (centres[:, None] - centres).square().sum(dim=2)
    median = squared[torch.triu(torch.ones(5, 5), diagonal=1) > 0].sqrt().median()
    expected = torch.exp(-squared / (2 * (median / 2) ** 2))
    found = similarities(centres)
    torch.testing.assert_close(found / found[0, 0], expected)
    assert found.std(correction=0).item() == pytest.approx(0.3)


def test_a_category_like_none_gets_the_shared_weights_exactly() -> None:
    """T does not extrapolate; one that is a centre gets what was learnt for it."""
    transfer = _transfer(layers=1, shared=True, similarities=_similarities())
    assert transfer.similarities is not None
    far, near = torch.full((1, 3), 100.0), transfer.similarities.centres[:1]
    assert transfer.shared_weights is not None
    assert torch.equal(transfer(far)[0], transfer.shared_weights)
    assert not torch.allclose(transfer(near)[0], transfer.shared_weights, atol=1e-3)


def test_the_similarity_of_a_row_depends_on_that_row_alone() -> None:
    """For K rows and for the rows of a batch the kernels are the same, bit for bit."""
    similarities, rows = _similarities(40), torch.randn(60, 3)
    assert torch.equal(similarities(rows)[7:9], similarities(rows[7:9]))


def test_the_gradient_reaches_class_embeddings_that_are_centres() -> None:
    """At a distance of zero it is zero, and not NaN: joint training starts there."""
    similarities = _similarities()
    rows = similarities.centres.clone().requires_grad_()
    similarities(rows)[:, 1:].sum().backward()
    assert rows.grad is not None
    assert rows.grad.isfinite().all()
    assert rows.grad[0].any()


@pytest.mark.parametrize(
    ("centres", "reason"),
    [
        (torch.zeros(1, 3), r"Only one(.|\n)*--embedding none"),
        (torch.ones(4, 3), r"do not differ(.|\n)*--kernel linear"),
    ],
)
def test_categories_that_do_not_differ_have_no_similarities(centres: Tensor, reason: str) -> None:
    """The error says what to take in their place."""
    with pytest.raises(ConfigError, match=reason):
        Similarities(centres, std=0.3)


def test_a_category_s_similarity_to_itself_is_hidden_for_a_share_of_rois_in_training_alone() -> None:
    """Only its own, only in training, only where labels say whose rows these are; which ones follows from the seed."""
    centres = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([2, 3, 5, 7])
    similarities = Similarities(centres, std=0.3, labels=labels, hide_own=0.5)
    rows, of_rows = centres[[0, 1, 3] * 200], labels[[0, 1, 3] * 200]
    torch.manual_seed(1)
    hidden = similarities(rows, of_rows)
    plain = similarities(rows)
    changed = hidden != plain
    assert torch.equal(changed.any(dim=0), torch.tensor([True, True, False, True]))
    assert (hidden[changed] == 0).all()
    assert 0.4 < changed.any(dim=1).float().mean() < 0.6
    assert changed.sum(dim=1).max() == 1
    torch.manual_seed(1)
    assert torch.equal(similarities(rows, of_rows), hidden)
    unseen = similarities(rows[:1], torch.tensor([6]))
    assert torch.equal(unseen, plain[:1])
    assert torch.equal(similarities.eval()(rows, of_rows), plain)
