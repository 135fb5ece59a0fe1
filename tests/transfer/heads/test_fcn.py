"""The FCN mask head: shapes and the authors' initialisation."""

from __future__ import annotations

import math

import pytest
import torch

from maskx_pipeline.transfer.heads.fcn import FCNMaskHead


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_head_doubles_the_side(depth: int, count: int) -> None:
    """[N, C, S, S] becomes [N, width, 2S, 2S], also for no RoI at all and without convolutions."""
    head = FCNMaskHead(in_channels=5, width=8, depth=depth)
    assert head(torch.randn(count, 5, 7, 7)).shape == (count, 8, 14, 14)
    assert head.mask_size(7) == 14


def test_the_default_head_is_the_papers() -> None:
    """Four 3x3 convolutions and a 2x2 deconvolution of 256 channels, N(0, 2 / fan_out), biases 0."""
    torch.manual_seed(0)
    head = FCNMaskHead(in_channels=256)
    assert len(head.convs) == 4
    for layer, fan_out in [*((conv, 256 * 9) for conv in head.convs), (head.deconv, 256 * 4)]:
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.01)
        assert not layer.bias.any()
    assert sum(p.numel() for p in head.parameters()) == 4 * (256 * 256 * 9 + 256) + 256 * 256 * 4 + 256


def test_the_first_layer_starts_by_its_outputs() -> None:
    """Where the channels of the RoI features differ from the width, the std is that of fan_out, not of fan_in."""
    torch.manual_seed(0)
    head = FCNMaskHead(in_channels=32, width=128, depth=1)
    assert head.convs[0].weight.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)


def test_mask_features_are_not_negative() -> None:
    """The deconvolution, too, is followed by a ReLU."""
    assert FCNMaskHead(in_channels=3, width=4, depth=1)(torch.randn(2, 3, 4, 4)).min() >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_and_inference_compute_the_same_mask_features(dtype: torch.dtype) -> None:
    """In training the deconvolution is a matrix product; values, gradients and memory order are the deconvolution's."""
    torch.manual_seed(0)
    head = FCNMaskHead(in_channels=5, width=8, depth=1).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(head.deconv.bias)
    features = torch.randn(3, 5, 6, 7).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        trained = head(features)
        with torch.no_grad():
            torch.testing.assert_close(trained.detach(), head(features))
        inputs = torch.relu(head.convs[0](features))
        expected = torch.relu(head.deconv(inputs))
    assert trained.dtype == dtype
    assert trained.is_contiguous(memory_format=torch.channels_last)
    parameters = (*head.deconv.parameters(), *head.convs.parameters())
    weight = torch.randn_like(expected)
    found = torch.autograd.grad((trained * weight).sum(), parameters)
    for gradient, wanted in zip(found, torch.autograd.grad((expected * weight).sum(), parameters), strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 0.02
        torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance * wanted.abs().max().item())


def test_relu_is_not_in_place_of_a_view() -> None:
    """The gradient of an operation in place of a view copies all of the view's base, which was a tenth of a step."""
    head = FCNMaskHead(in_channels=3, width=4, depth=1).to(memory_format=torch.channels_last)
    nodes, seen = [head(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)).grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [before for before, _ in node.next_functions]
    assert {"ReluBackward0", "ConvolutionBackward0"} <= {node.name() for node in seen}
    assert not [node.name() for node in seen if "CopySlices" in node.name()]
