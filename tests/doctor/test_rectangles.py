"""Which masks are only their box again."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskx_pipeline.doctor.rectangles import is_its_box

BOX = (2.0, 3.0, 12.0, 9.0)
HEIGHT, WIDTH = 16, 20


def _rle(*, hole: bool = False, left: int = 2) -> dict[str, object]:
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    bitmap[3:9, left:12] = 1
    if hole:
        bitmap[5, 5] = 0
    return coco_mask.encode(bitmap)


def _uncompressed() -> dict[str, object]:
    counts = [2 * HEIGHT + 3, *[6, HEIGHT - 6] * 10]
    counts[-1] += WIDTH * HEIGHT - sum(counts)
    return {"size": [HEIGHT, WIDTH], "counts": counts}


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 3, 12, 3, 12, 9, 2, 9]],
        [[12, 9, 2, 9, 2, 3, 12, 3, 12, 9]],  # closed, from another corner
        [[2, 3, 7, 3, 12, 3, 12, 9, 2, 9]],  # a point on a side
        [[2.4, 2.8, 11.6, 3, 11.5, 9, 2, 9.2]],  # rounded
        [[2, 3, 12, 3, 12, 9, 2, 9], [1, 1]],  # and a polygon without area
        _rle(),
        _uncompressed(),
    ],
)
def test_a_mask_on_all_sides_of_its_box_is_its_box(segmentation):
    """Polygons in any order, closed or not, to a pixel; RLE too."""
    assert is_its_box(segmentation, BOX, height=HEIGHT, width=WIDTH)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 3, 12, 3, 12, 9]],  # half of it
        [[7, 3, 12, 6, 7, 9, 2, 6]],  # a diamond
        [[2, 3, 12, 3, 12, 9, 6, 6, 2, 9]],  # a corner inside
        [[2, 3, 7, 3, 7, 9, 2, 9], [7, 3, 12, 3, 12, 9, 7, 9]],
        [[2, 3, 9, 3, 9, 9, 2, 9]],  # a rectangle, but narrower
        _rle(hole=True),
        _rle(left=5),
    ],
)
def test_any_other_mask_is_not(segmentation):
    """What was drawn by hand, even with four points or as a smaller rectangle."""
    assert not is_its_box(segmentation, BOX, height=HEIGHT, width=WIDTH)


def test_a_box_that_was_clipped_to_the_image_is_compared_with_the_mask_in_it():
    """Boxes are clipped while reading, polygons are not."""
    outside = [[-6, -5, 30, -5, 30, 9, -6, 9]]
    assert is_its_box(outside, (0.0, 0.0, 20.0, 9.0), height=HEIGHT, width=WIDTH)
