"""Small parts of a mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskx_pipeline.evaluation.specks import rle_without_specks, without_specks


def test_a_part_below_the_share_is_dropped_and_counted() -> None:
    """98 pixels, one of 2 beside it (2 of 100 is no speck at 2 %), and one of 1 where the share is a little more."""
    mask = np.zeros((30, 30), np.uint8)
    mask[2:9, 2:16] = 1
    mask[20, 20:22] = 1
    assert mask.sum() == 100
    assert without_specks(mask, 0.02) == (pytest.approx(mask), 0)
    kept, dropped = without_specks(mask, 0.021)
    assert dropped == 1
    assert kept.sum() == 98
    assert not kept[20].any()
    assert mask.sum() == 100, "the mask that was given stays"
    assert without_specks(mask, 0.0)[0] is mask


def test_parts_are_those_of_opencv() -> None:
    """On noise: what is kept is what OpenCV's 4-connected parts of that size are."""
    generator = np.random.default_rng(3)
    for density in (0.3, 0.5, 0.6, 0.7):
        mask = (generator.random((60, 80)) < density).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        large = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] >= 0.01 * mask.sum()]
        kept, dropped = without_specks(mask, 0.01)
        assert dropped == (count - 1 - len(large) if large else 0)
        assert (kept == (np.isin(labels, large) if large else mask)).all()


def test_where_every_part_is_small_none_is_a_speck() -> None:
    """A wire that runs across pixel corners is 60 parts of one pixel; nothing and all are no parts."""
    wire = np.eye(60, dtype=np.uint8)
    assert without_specks(wire, 0.02)[1] == 0
    for value in (0, 1):
        flat = np.full((5, 6), value, np.uint8)
        assert (without_specks(flat, 0.5)[0] == flat).all()


def test_an_rle_stays_the_same_object_where_nothing_is_dropped() -> None:
    """Else it is encoded anew, as text."""
    mask = np.zeros((20, 20), np.uint8)
    mask[:10] = 1
    mask[15, 3] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    rle = {"size": [20, 20], "counts": rle["counts"].decode("ascii")}
    assert rle_without_specks(rle, 0.0) == (rle, 0)
    made, dropped = rle_without_specks(rle, 0.02)
    assert dropped == 1
    assert coco_mask.decode(made).sum() == 200
    assert isinstance(made["counts"], str)
