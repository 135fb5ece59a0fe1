"""The image in the frame of a RoI."""

from __future__ import annotations

from pathlib import Path

import cache_fakes
import numpy as np
import pytest
from numpy.typing import NDArray

from maskx_pipeline.cache.colours import colour_patches
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.images import read_pixels
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import CacheError

BOXES = [
    [0, 0, 40, 32],  # the whole image
    [3.3, 2.7, 30.2, 28.9],
    [10, 10, 16, 16],  # a cell a pixel
    [10.2, 10.1, 11.5, 12.6],  # cells smaller than a pixel
    [20.25, 20.5, 20.5, 20.75],  # a box smaller than a pixel counts as one
    [-6.5, -3, 9, 12.4],  # partly outside
    [33, 25, 47.5, 40],
    [50, 50, 60, 60],  # wholly outside
]


def gradient() -> NDArray[np.uint8]:
    """Red grows to the right, green downwards, and blue changes from pixel to pixel."""
    y, x = np.mgrid[0:32, 0:40]
    return np.stack([6 * x, 7 * y, 255 * ((x + y) % 2)], axis=-1).astype(np.uint8)


def slowly(pixels: NDArray[np.uint8], box: list[float], size: int) -> NDArray[np.float64]:
    """Each cell's mean, pixel by pixel."""
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1, 1.0) / size, max(y2 - y1, 1.0) / size
    patch = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            top, left = y1 + row * height, x1 + column * width
            for y in range(pixels.shape[0]):
                for x in range(pixels.shape[1]):
                    tall = min(top + height, y + 1) - max(top, y)
                    wide = min(left + width, x + 1) - max(left, x)
                    if tall > 0 and wide > 0:
                        patch[row, column] += pixels[y, x] * (tall * wide / (width * height))
    return patch


@pytest.mark.parametrize("box", BOXES)
def test_a_cell_is_the_mean_of_its_pixels(box: list[float]) -> None:
    """However large the cells are; black outside of the image."""
    found = colour_patches(gradient(), np.array([box]), 6)[0]
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, slowly(gradient(), box, 6), atol=0.501)


def test_the_patch_of_a_mirrored_image_is_mirrored() -> None:
    """But for the rounding of a tie."""
    boxes = np.array(BOXES)
    mirrored = np.stack([40 - boxes[:, 2], boxes[:, 1], 40 - boxes[:, 0], boxes[:, 3]], axis=1)
    mirrored[4, 0] -= 0.75  # a box smaller than a pixel grows to the right
    patches = [colour_patches(image, b, 6) for image, b in ((gradient(), boxes), (gradient()[:, ::-1], mirrored))]
    difference = patches[0].astype(int) - patches[1][:, :, ::-1]
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.05


def test_no_boxes_have_no_patches() -> None:
    """Zero rows keep their shape."""
    assert colour_patches(gradient(), np.zeros((0, 4)), 6).shape == (0, 6, 6, 3)


def test_the_cache_holds_the_patch_of_every_roi(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Of the mirrored image where the row is mirrored; read in the order asked for; all else is as without colours."""
    plain = cache_fakes.export(tmp_path / "plain.h5", train, val)
    path = cache_fakes.export(tmp_path / "cache.h5", train, val, colours=True)
    before, after = cache_fakes.contents(plain), cache_fakes.contents(path)
    assert {name for name in after if before.get(name) != after[name]} == {"train/colours", "train/sums"}
    with RoICache(path) as cache, RoICache(plain) as other:
        rows = cache.train
        assert cache.dimensions.colours
        assert cache.digest != other.digest
        assert cache.feature_bytes("train") == other.feature_bytes("train")
        assert [column.dtype for column in cache.read_stored("train", [0])] == [np.float16]
        order = np.random.default_rng(0).permutation(len(rows))
        for row, patch in zip(order, cache.read_colours(order), strict=True):
            pixels = read_pixels(train.image_path(int(rows.image_ids[row])))
            image = pixels[:, ::-1] if rows.flipped[row] else pixels
            np.testing.assert_array_equal(patch, colour_patches(image, rows.boxes[row : row + 1], 6)[0])
        assert cache.read_colours([]).shape == (0, 6, 6, 3)
        assert not other.dimensions.colours
        with pytest.raises(CacheError, match="holds no colours") as caught:
            other.read_colours([0])
    assert "--colours --overwrite" in str(caught.value)
