"""The residual and hourglass heads of Deep-MARC."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.heads import mask_head
from maskx_pipeline.transfer.heads.blocks import Doubling, ResidualBlock


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3) for part in module.modules())


@pytest.mark.parametrize(("name", "blocks", "out"), [("resnet4", 2, 32), ("resnet16", 8, 32), ("resnet20", 10, 48)])
def test_a_resnet_has_the_blocks_of_its_name(name: str, blocks: int, out: int) -> None:
    """Two convolutions a block, and one before them; ResNet-20 ends half as wide again."""
    head = mask_head(name, in_channels=5, width=32, depth=0, norm="group")
    assert isinstance(head, nn.Module)
    assert sum(isinstance(part, ResidualBlock) for part in head.modules()) == blocks
    assert _convolutions(head) == 2 * blocks + 1
    assert head.out_channels == out
    assert head(torch.randn(2, 5, 7, 7)).shape == (2, out, 14, 14)


@pytest.mark.parametrize(
    ("name", "sides"),
    [("hourglass10", [14, 7]), ("hourglass32", [14, 7, 4, 2]), ("hourglass100", [32, 16, 8, 4, 2, 1])],
)
def test_an_hourglass_goes_down_to_its_smallest_side_and_back(name: str, sides: list[int]) -> None:
    """Each side is half of the one before, rounded up, and the masks have twice the first, also for odd sides."""
    head = mask_head(name, in_channels=5, width=32, depth=0, norm="group")
    assert isinstance(head, nn.Module)
    seen_sides = set()
    for part in head.modules():
        if isinstance(part, ResidualBlock):
            part.register_forward_hook(lambda _, __, out: seen_sides.add(out.shape[-1]))
    masks = head(torch.randn(2, 5, sides[0], sides[0]))
    assert masks.shape == (2, 32, 2 * sides[0], 2 * sides[0])
    assert sorted(seen_sides, reverse=True) == sides


def test_group_normalisation_does_not_know_the_batch() -> None:
    """A RoI's mask features are the same alone and among others."""
    head = mask_head("hourglass10", in_channels=5, width=16, depth=0, norm="group")
    rois = torch.randn(3, 5, 14, 14)
    torch.testing.assert_close(head(rois)[:1], head(rois[:1]))


def test_the_matrix_product_is_the_deconvolution() -> None:
    """In training on a CPU, without ReLU before the normalisation."""
    doubling = Doubling(16, norm="group")
    features = torch.randn(2, 16, 5, 5)
    with torch.no_grad():
        plain = doubling(features)
    torch.testing.assert_close(doubling(features), plain)


def test_channels_that_make_no_groups_are_refused_with_what_to_give() -> None:
    """So is a normalisation that does not exist."""
    with pytest.raises(ConfigError, match="--head-width"):
        mask_head("resnet4", in_channels=5, width=40, depth=0, norm="group")
    with pytest.raises(ConfigError, match="one of: group, batch"):
        mask_head("resnet4", in_channels=5, width=32, depth=0, norm="layer")
    mask_head("resnet4", in_channels=5, width=40, depth=0, norm="batch")
