"""Masks of RoIs become masks of the image exactly as torchvision makes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maskx_pipeline.evaluation import paste as pasting
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


def test_pasting_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by working on some masks at a time."""
    probs, boxes = some_masks()
    whole = paste_to_rle(probs, boxes, HEIGHT, WIDTH)
    monkeypatch.setattr(pasting, "_PIXELS_AT_ONCE", 2 * HEIGHT * WIDTH)
    assert paste_to_rle(probs, boxes, HEIGHT, WIDTH) == whole


def test_threshold_is_exclusive() -> None:
    """As in Detectron, a pixel of exactly the threshold is background."""
    box = torch.tensor([[0.0, 0.0, 28.0, 28.0]])
    assert paste(torch.full((1, 28, 28), 0.5), box, HEIGHT, WIDTH).sum() == 0
    assert paste(torch.full((1, 28, 28), 0.51), box, HEIGHT, WIDTH).sum() > 500
