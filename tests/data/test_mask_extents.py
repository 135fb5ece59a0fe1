"""Where masks lie, and how much of each is in its box: by hand, and as pycocotools has it."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskx_pipeline.data.mask_extents import extent_of_mask, extents_of_polygons
from maskx_pipeline.data.masks import segmentation_to_rle

H, W = 30, 40


def test_polygons_are_measured_all_at_once():
    """A square half outside its box, whose margin is a pixel; parts of 100 and 25 pixels, of which one is inside."""
    square = [[10, 5, 20, 5, 20, 15, 10, 15]]
    parts = [*square, [30, 20, 35, 20, 35, 25, 30, 25]]
    boxes = np.array([[16.0, 0, 20, 20], [10, 5, 10, 10]]).T
    extents, areas = extents_of_polygons([square, parts], boxes)
    np.testing.assert_allclose(extents[:, 0], [10, 5, 20, 15, 0.5])
    np.testing.assert_allclose(extents[:, 1], [10, 5, 35, 25, 100 / 125])
    assert areas.tolist() == [100, 125]


def test_the_area_of_a_polygon_is_its_own_whatever_way_it_turns():
    """Of a triangle, both ways round; a line has none."""
    masks = [[[0, 0, 8, 0, 8, 6]], [[8, 6, 8, 0, 0, 0]], [[0, 0, 4, 3, 8, 6]]]
    assert extents_of_polygons(masks, np.zeros((4, 3)))[1].tolist() == [24, 24, 0]


@pytest.mark.parametrize("seed", range(30))
def test_an_rle_is_where_pycocotools_says(seed):
    """Its box by `toBbox`, and the share of its pixels in the object's box by counting them."""
    rng = np.random.default_rng(seed)
    bitmap = np.zeros((H, W), dtype=np.uint8)
    y, x = (0, rng.integers(0, W - 3)) if seed % 3 == 0 else (rng.integers(0, H - 3), rng.integers(0, W - 3))
    high = H if seed % 3 == 0 else rng.integers(1, H)  # of full height, runs go on from one column to the next
    bitmap[y : y + high, x : x + rng.integers(1, W)] = 1
    bitmap &= (rng.random((H, W)) < rng.choice([0.3, 1.0])).astype(np.uint8)
    bitmap[y, x] = 1
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    segmentation = {"size": [H, W], "counts": rle["counts"].decode()}
    bx, by, bw, bh = (
        int(v) for v in (rng.integers(0, 20), rng.integers(0, 15), rng.integers(2, 20), rng.integers(2, 14))
    )
    x1, y1, w, h = coco_mask.toBbox(segmentation_to_rle(segmentation, H, W)).tolist()
    inside = bitmap[max(by - 1, 0) : by + bh + 1, max(bx - 1, 0) : bx + bw + 1].sum() / bitmap.sum()
    found = extent_of_mask(segmentation, [bx, by, bw, bh], (H, W))
    np.testing.assert_allclose(found, [x1, y1, x1 + w, y1 + h, inside])


def test_a_run_that_goes_on_in_the_next_column_is_as_high_as_the_image():
    """From row 20 of column 5 to row 3 of column 6: fourteen pixels, of which four are in the second."""
    segmentation = {"size": [H, W], "counts": [5 * H + 20, 14, H * W - 5 * H - 34]}
    assert extent_of_mask(segmentation, [7, 0, 3, 9], (H, W)) == [5, 0, 7, H, 4 / 14]
