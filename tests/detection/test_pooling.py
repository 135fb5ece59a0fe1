"""The pooling is torchvision's, only faster."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

from maskx_pipeline.detection.pooling import POOLED_LEVELS, PyramidPool


def _pyramid(height: int, width: int, *, images: int = 2, channels: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = [*POOLED_LEVELS, "pool"]
    sizes = [(-(-height // 2**level), -(-width // 2**level)) for level in range(2, 7)]
    return {n: torch.rand(images, channels, *size, generator=generator) for n, size in zip(names, sizes, strict=True)}


def _boxes(count: int, height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    sides = torch.rand(count, 2, generator=generator) ** 3 * torch.tensor([width, height])
    return torch.cat([corners, corners + sides], dim=1)  # some reach out of the image, some are thinner than a bin


@pytest.mark.parametrize("roi_size", [7, 14])
def test_pooling_equals_torchvision_and_so_does_its_gradient(roi_size: int) -> None:
    """Boxes of all sizes, inside and partly outside, over several images and all levels."""
    height, width = 160, 224
    boxes = [_boxes(60, height, width, seed) for seed in range(2)]
    ours, theirs = _pyramid(height, width), _pyramid(height, width)
    for level in (*ours.values(), *theirs.values()):
        level.requires_grad_()
    shapes = [(height, width)] * 2
    pooled = PyramidPool(roi_size=roi_size, canonical_box_size=56)(ours, boxes, shapes)
    expected = MultiScaleRoIAlign(list(POOLED_LEVELS), roi_size, 2, canonical_scale=56)(theirs, boxes, shapes)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    gradient = torch.randn_like(expected)
    pooled.backward(gradient)
    expected.backward(gradient)
    for name in POOLED_LEVELS:
        assert ours[name].grad is not None
        assert ours[name].grad.abs().sum() > 0
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-4, atol=1e-4)


def test_small_images_do_not_change_the_strides() -> None:
    """torchvision would take stride 32 for 16 in an image of 65 pixels padded to 96; a large image shows the truth."""
    features = _pyramid(96, 96, images=1)
    box = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    small = PyramidPool(roi_size=4, canonical_box_size=16)(features, [box], [(65, 65)])
    expected = MultiScaleRoIAlign(list(POOLED_LEVELS), 4, 2, canonical_scale=16)(features, [box], [(96, 96)])
    torch.testing.assert_close(small, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("pooling", "channels"), [("assigned", 5), ("finest+assigned", 10)])
def test_no_boxes_give_no_rois_and_still_a_gradient(pooling: str, channels: int) -> None:
    """Images without proposals must not stop the training."""
    features = _pyramid(64, 64)
    features["0"].requires_grad_()
    pool = PyramidPool(roi_size=7, canonical_box_size=32, pooling=pooling)
    pooled = pool(features, [torch.zeros(0, 4)] * 2, [(64, 64)] * 2)
    assert pooled.shape == (0, channels, 7, 7)
    pooled.sum().backward()


def test_bfloat16_features_are_pooled_in_float32() -> None:
    """Only the features are rounded, never the coordinates or the sum."""
    features = {name: level.bfloat16() for name, level in _pyramid(160, 224).items()}
    boxes = [_boxes(20, 160, 224, seed) for seed in range(2)]
    pool = PyramidPool(roi_size=7, canonical_box_size=56)
    pooled = pool(features, boxes, [(160, 224)] * 2)
    assert pooled.dtype is torch.bfloat16
    exact = pool({name: level.float() for name, level in features.items()}, boxes, [(160, 224)] * 2)
    assert torch.equal(pooled, exact.bfloat16())


@pytest.mark.parametrize("roi_size", [7, 14])
def test_two_maps_are_the_finest_and_the_assigned_one_by_torchvision(roi_size: int) -> None:
    """First stride 4, then the level of eq. 1, worked out here: level 4 for a box of 56 pixels, one less for each half.

    Both parts give their gradient to their maps.
    """
    height, width = 160, 224
    boxes = [_boxes(60, height, width, seed) for seed in range(2)]
    ours, theirs = _pyramid(height, width), _pyramid(height, width)
    for level in (*ours.values(), *theirs.values()):
        level.requires_grad_()
    pool = PyramidPool(roi_size=roi_size, canonical_box_size=56, pooling="finest+assigned")
    pooled = pool(ours, boxes, [(height, width)] * 2)
    rows = []
    used = set()
    for number, of_image in enumerate(boxes):
        for box in of_image:
            side = math.sqrt(float((box[2] - box[0]) * (box[3] - box[1])))
            assigned = min(5, max(2, math.floor(4 + math.log2(side / 56) + 1e-6)))
            used.add(assigned)
            roi = torch.cat([torch.tensor([float(number)]), box])[None]
            rows.append(
                torch.cat(
                    [
                        roi_align(theirs[str(level - 2)], roi, roi_size, spatial_scale=2.0**-level, sampling_ratio=2)
                        for level in (2, assigned)
                    ],
                    dim=1,
                )
            )
    assert len(used) >= 3
    expected = torch.cat(rows)
    assert pooled.shape == (120, 10, roi_size, roi_size)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    gradient = torch.randn_like(expected)
    pooled.backward(gradient)
    expected.backward(gradient)
    for name in map(str, (level - 2 for level in used)):
        torch.testing.assert_close(ours[name].grad, theirs[name].grad, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_two_maps_are_pooled_alike_on_a_gpu() -> None:
    """There torchvision's own kernels do it; no boxes give no RoIs there too."""
    features = _pyramid(160, 224)
    boxes = [_boxes(40, 160, 224, 0), torch.zeros(0, 4)]
    pool = PyramidPool(roi_size=14, canonical_box_size=56, pooling="finest+assigned")
    expected = pool(features, boxes, [(160, 224)] * 2)
    on_gpu = {name: level.cuda() for name, level in features.items()}
    found = pool(on_gpu, [of_image.cuda() for of_image in boxes], [(160, 224)] * 2)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)
    assert pool(on_gpu, [torch.zeros(0, 4).cuda()] * 2, [(160, 224)] * 2).shape == (0, 10, 14, 14)
