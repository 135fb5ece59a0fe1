"""Outlines of masks."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskx_pipeline.data.masks import rasterize_roi_target, segmentation_fault, segmentation_to_rle
from maskx_pipeline.data.polygons import outline_of

SIZE = 120


def drawn(polygons: list[list[float]]) -> np.ndarray:
    """The pixels that pycocotools sees in polygons."""
    return np.asarray(coco_mask.decode(segmentation_to_rle(polygons, SIZE, SIZE)))


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """A disc, uint8."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    return ((columns - x) ** 2 + (rows - y) ** 2 < radius**2).astype(np.uint8)


def test_a_rectangle_is_its_four_corners():
    """Pixel 0 reaches from 0 to 1, so that the same pixels come back; up to the edges of the image."""
    for rows, columns in ((slice(3, 9), slice(5, 30)), (slice(0, SIZE), slice(0, SIZE)), (slice(7, 8), slice(9, 10))):
        mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
        mask[rows, columns] = 1
        (polygon,) = outline_of(mask).polygons
        assert len(polygon) == 8
        assert {*polygon} == {rows.start, rows.stop, columns.start, columns.stop}
        assert (drawn([polygon]) == mask).all()


@pytest.mark.parametrize(("radius", "least", "most_points"), [(4, 0.85, 20), (20, 0.94, 40), (55, 0.975, 50)])
def test_a_round_mask_has_few_points_and_nearly_all_its_pixels(radius, least, most_points):
    """A polygon to be corrected by hand does not follow the stairs of the pixels."""
    mask = disc(60.3, 58.8, radius)
    (polygon,) = outline_of(mask).polygons
    seen = drawn([polygon])
    assert (seen & mask).sum() / (seen | mask).sum() > least
    assert len(polygon) // 2 <= most_points


def test_parts_are_polygons_of_their_own_the_largest_first():
    """As COCO writes an object that is hidden in the middle."""
    mask = disc(30, 30, 10) | disc(80, 80, 25)
    polygons = outline_of(mask).polygons
    assert len(polygons) == 2
    assert min(polygons[0]) > 50
    assert max(polygons[1]) < 45


def test_holes_are_filled_and_counted():
    """Polygons cannot express them, and are a union: the ring becomes the disc."""
    ring = disc(60, 60, 40) - disc(60, 60, 15)
    outline = outline_of(ring)
    assert len(outline.polygons) == 1
    assert outline.holes == disc(60, 60, 15).sum()
    whole = disc(60, 60, 40)
    assert (drawn(outline.polygons) & whole).sum() / (drawn(outline.polygons) | whole).sum() > 0.98
    assert outline_of(whole).holes == 0
    assert len(outline_of(ring | disc(60, 60, 5)).polygons) == 1  # an island in the hole is filled with it


def test_pixels_that_touch_at_a_corner_are_sound_polygons():
    """The hardest shapes for a tracer: a chessboard, a diagonal, a single pixel."""
    board = np.indices((SIZE, SIZE)).sum(axis=0).astype(np.uint8) % 2
    board[8:] = 0
    board[:, 8:] = 0
    for mask in (board, np.eye(SIZE, dtype=np.uint8), np.eye(SIZE, k=-SIZE + 1, dtype=np.uint8)):
        polygons = outline_of(mask).polygons
        assert polygons
        assert segmentation_fault(polygons, height=SIZE, width=SIZE) is None
        assert rasterize_roi_target(polygons, (0, 0, SIZE, SIZE), size=SIZE, height=SIZE, width=SIZE).any()
