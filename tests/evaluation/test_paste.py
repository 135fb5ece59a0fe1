"""Masks of RoIs become masks of the image exactly as torchvision makes them."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maskx_pipeline.evaluation.paste import paste, paste_to_rle

HEIGHT, WIDTH = 48, 64


def some_masks(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random masks in boxes of all sizes, several of them partly outside the image."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 1, 4, 4, generator=generator)
    probs = torch.nn.functional.interpolate(coarse, size=(28, 28), mode="bilinear")[:, 0]
    boxes = torch.tensor(
        [
            [3.2, 4.7, 40.1, 30.9],
            [10.0, 10.0, 10.4, 10.3],
            [-9.6, -5.2, 20.0, 20.0],
            [50.5, 30.5, 80.0, 70.0],
            [0.0, 0.0, 64.0, 48.0],
            [20.9, 5.1, 22.0, 47.9],
        ]
    )
    return probs, boxes[:count]


def test_pasted_masks_equal_torchvisions() -> None:
    """The RLE is what torchvision's paste, a threshold and pycocotools' encode give."""
    probs, boxes = some_masks()
    bitmaps = paste_masks_in_image(probs[:, None], boxes, (HEIGHT, WIDTH))[:, 0] > 0.5
    expected = [coco_mask.encode(np.asfortranarray(bitmap.numpy().astype(np.uint8))) for bitmap in bitmaps]
    found = paste_to_rle(probs, boxes, HEIGHT, WIDTH)
    assert [rle["counts"].encode() for rle in found] == [rle["counts"] for rle in expected]
    assert all(rle["size"] == [HEIGHT, WIDTH] for rle in found)
    assert coco_mask.area(found).min() > 0


def test_rle_can_be_written_as_json() -> None:
    """COCO results hold the counts as text."""
    (rle,) = paste_to_rle(*some_masks(1), HEIGHT, WIDTH)
    assert coco_mask.area(json.loads(json.dumps(rle))) == coco_mask.area(rle) > 0


def test_no_masks_give_no_rles() -> None:
    """An image without detections is no special case."""
    assert paste_to_rle(torch.zeros(0, 28, 28), torch.zeros(0, 4), HEIGHT, WIDTH) == []


@pytest.mark.parametrize("box", [[70.0, 10.0, 90.0, 20.0], [-40.0, 0.0, -20.0, 9.0], [0.0, 60.0, 5.0, 70.0]])
def test_a_box_outside_the_image_gives_an_empty_mask(box: list[float]) -> None:
    """No pixel, and no error."""
    (rle,) = paste_to_rle(torch.ones(1, 28, 28), torch.tensor([box]), HEIGHT, WIDTH)
    assert coco_mask.area(rle) == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [(48, 64), (61, 37), (1, 9), (9, 1)])
def test_any_mask_in_any_box_is_encoded_as_torchvision_and_pycocotools_do(seed: int, size: tuple[int, int]) -> None:
    """Boxes inside, outside, across each border, thinner than a pixel, as large as the image and larger."""
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    count, cells = 40, (28, 14, 7, 1)[seed % 4]
    coarse = torch.rand(count, 1, 3, 3, generator=generator)
    probs = torch.nn.functional.interpolate(coarse, size=(cells, cells), mode="bilinear")[:, 0]
    probs[::8] = torch.rand(probs[::8].shape, generator=generator)  # noise: as many runs as there can be
    probs[1], probs[2], probs[3], probs[4] = 0.0, 1.0, 1.0, 0.5
    reach = torch.tensor([width, height] * 2)
    boxes = torch.rand(count, 4, generator=generator) * 2 * reach - reach / 2
    boxes = torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], dim=1)
    boxes[10:20, 2:] = boxes[10:20, :2] + torch.rand(10, 2, generator=generator)
    boxes[2] = boxes[8] = torch.tensor([0, 0, width, height])
    boxes[3] = torch.tensor([-width, -height, 2 * width, 2 * height])
    boxes[5:8, 1], boxes[5:8, 3] = 0, height  # as high as the image: runs go on from column to column
    touching = (boxes[:, :2] < torch.tensor([width, height])).all(1) & (boxes[:, 2:] > 0).all(1)
    probs, boxes = probs[touching], boxes[touching]  # torchvision fails on boxes that lie outside
    assert len(boxes) > 15
    bitmaps = paste_masks_in_image(probs[:, None], boxes, size)[:, 0] > 0.5
    expected = [coco_mask.encode(np.asfortranarray(bitmap.numpy().astype(np.uint8))) for bitmap in bitmaps]
    found = paste_to_rle(probs, boxes, height, width)
    assert [rle["counts"].encode() for rle in found] == [rle["counts"] for rle in expected]
    assert np.array_equal(paste(probs, boxes, height, width), bitmaps.numpy())
    assert coco_mask.area(found).max() == height * width


def test_memory_is_that_of_the_boxes_not_of_the_images() -> None:
    """A hundred small masks of a large photo need no hundred photos."""
    boxes = torch.tensor([[3000.0, 3000.0, 3050.0, 3040.0]]).repeat(100, 1)
    tracemalloc.start()
    try:
        assert len(paste_to_rle(torch.ones(100, 28, 28), boxes, 6000, 8000)) == 100
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_threshold_is_exclusive() -> None:
    """As in Detectron, a pixel of exactly the threshold is background."""
    box = torch.tensor([[0.0, 0.0, 28.0, 28.0]])
    assert paste(torch.full((1, 28, 28), 0.5), box, HEIGHT, WIDTH).sum() == 0
    assert paste(torch.full((1, 28, 28), 0.51), box, HEIGHT, WIDTH).sum() > 500
