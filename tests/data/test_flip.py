"""Flipping an image with its boxes."""

from __future__ import annotations

import torch

from maskx_pipeline.data.dataset import flip_horizontally


def test_flipped_boxes_hold_the_same_pixels():
    """What a box covered before, mirrored, it covers afterwards."""
    image = torch.arange(3 * 6 * 10).reshape(3, 6, 10)
    flipped, boxes = flip_horizontally(image, torch.tensor([[1.0, 2.0, 4.0, 5.0]]))
    x1, y1, x2, y2 = boxes[0].int().tolist()
    assert torch.equal(flipped[:, y1:y2, x1:x2], image[:, 2:5, 1:4].flip(-1))


def test_flipping_twice_changes_nothing():
    """Also without any box."""
    image = torch.rand(3, 5, 7)
    for boxes in (torch.tensor([[0.5, 1.0, 3.25, 4.0], [0.0, 0.0, 7.0, 5.0]]), torch.zeros(0, 4)):
        again = flip_horizontally(*flip_horizontally(image, boxes))
        assert torch.equal(again[0], image)
        assert torch.equal(again[1], boxes)
