"""Masks in every form COCO knows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.masks import (
    flip_segmentation,
    mask_is_absent,
    rasterize_roi_target,
    segmentation_fault,
    segmentation_to_rle,
)
from maskx_pipeline.errors import DataError

H, W = 30, 40


def _bitmap(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.random((H, W)) < generator.choice([0.02, 0.3, 0.9])).astype(np.uint8)


def _compressed(bitmap: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def _uncompressed(bitmap: np.ndarray) -> dict:
    flat = bitmap.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return {"size": list(bitmap.shape), "counts": [0, *runs] if flat[0] else runs}


@pytest.mark.parametrize("segmentation", [
    None, [], [[]], [[], []], [[1, 2]], [[1, 1, 2, 2]], [[0, 0, 0, 0]], [[0, 0], [0, 0], [0, 0]],
    [[1, 1, 3, 3, 2, 2]], [[5, 1, 5, 9, 5, 4]], [[1, 1, 9, 1, 9, 9, 9, 1]], [[0] * 8, []],
    {"size": [H, W], "counts": [H * W]}, {"size": [H, W], "counts": [H * W, 0]}, {"size": [H, W], "counts": []},
    {"size": [H, W], "counts": ""}, {"size": [1, 1], "counts": [1, 0]},
])  # fmt: skip
def test_a_mask_without_area_is_absent(segmentation):
    """Missing, null, an empty list and a list of empty polygons all mean that there is no mask."""
    assert mask_is_absent(segmentation)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[0, 0, 5, 0, 5, 5]], [[], [0, 0, 5, 0, 5, 5]], {"size": [1, 1], "counts": [0, 1]},
        [[0, 0, 6, 6, 6, 0, 0, 6]], [[0, 0, 0.3, 0, 0.3, 0.3]],
        [[0, 0], [5, 0], [5, 5]], [[[0, 0], [5, 0], [5, 5]]], [0, 0, 5, 0, 5, 5], [{"x": 0, "y": 0}], "polygon",
        [[1, 2, 3]], [[0, 0], [5, 5]], [["0", 0, 5, 0, 5, 5]], [[float("nan")] * 6], {}, 3,
        [[0, 0, 5, 0], [5, 0, 5, 5]],
    ],
)  # fmt: skip
def test_what_is_drawn_is_there_however_it_is_written(segmentation):
    """A polygon with area, also one that crosses itself or is small, an RLE, and whatever cannot be read."""
    assert not mask_is_absent(segmentation)


@pytest.mark.parametrize(
    ("segmentation", "fault"),
    [
        ([[0, 0, 5, 0, 5, 5, 1]], "odd number"),
        ([[0, 0, 5, 0, float("nan"), 5]], "not finite"),
        ([[0, 0, 5, 0, "5", 5]], "not a number"),
        ([[0, 0, 10**400, 0, 5, 5]], "not a number"),
        ([0, 0, 5, 0, 5, 5], "list of lists"),
        ([[0, 0, 1e12, 0, 5, 5]], "far outside"),
        ([[1, 1, 2, 2]], "fewer than three"),
        ("polygon", "neither polygons nor RLE"),
        ({}, "size"),
        ({"size": [H, W]}, "neither run lengths nor"),
        ({"size": [W, H], "counts": [0, H * W]}, "the image 40x30"),
        ({"size": [H, W], "counts": [0, H * W - 1]}, "add up"),
        ({"size": [H, W], "counts": [-1, H * W + 1]}, "neither run lengths nor"),
        ({"size": [H, W], "counts": [0, 5, -5, H * W]}, "add up"),
        ({"size": [H, W], "counts": [0, 10**400]}, "neither run lengths nor"),
        ({"size": [H, W], "counts": "\x01\x02"}, "not valid compressed"),
        ({"size": [H, W], "counts": "ooooooooooooooooo0"}, "not valid compressed"),
        ({"size": [H, W], "counts": "o"}, "not valid compressed"),
        ({"size": [H, W], "counts": ""}, "covers no pixel"),
        ({"size": [H, W], "counts": "é"}, "not valid compressed"),
        ({"size": [H, W], "counts": "52"}, "add up"),
        ({"size": [H, W], "counts": [H * W]}, "covers no pixel"),
    ],
)
def test_a_broken_mask_is_named(segmentation, fault):
    """What pycocotools would read wrongly, or crash on, is found beforehand."""
    found = segmentation_fault(segmentation, height=H, width=W)
    assert found is not None
    assert fault in found


@pytest.mark.parametrize("segmentation", [None, [], [[]], [[0, 0, 5, 0, 5, 5], [1, 1]]])
def test_absent_and_sound_masks_have_no_fault(segmentation):
    """An absent mask is no fault, and neither is a stray point beside a real polygon."""
    assert segmentation_fault(segmentation, height=H, width=W) is None


@pytest.mark.parametrize("seed", range(20))
def test_rle_converts_like_pycocotools(seed):
    """Compressed (text or bytes) and uncompressed RLE are the same mask as pycocotools decodes."""
    bitmap = _bitmap(seed)
    text = _compressed(bitmap)
    for segmentation in (text, text | {"counts": text["counts"].encode()}, _uncompressed(bitmap)):
        assert segmentation_fault(segmentation, height=H, width=W) is None
        decoded = coco_mask.decode(segmentation_to_rle(segmentation, H, W))
        np.testing.assert_array_equal(decoded, bitmap)


def test_polygons_convert_like_pycocotools():
    """Several polygons become the RLE of their union."""
    polygons = [[1, 1, 20, 1, 20, 20, 1, 20], [15, 10, 38, 12, 30, 28]]
    expected = coco_mask.decode(coco_mask.frPyObjects(polygons, H, W)).any(axis=2)
    np.testing.assert_array_equal(coco_mask.decode(segmentation_to_rle([*polygons, []], H, W)), expected)


@pytest.mark.parametrize("box", [(3.2, 4.9, 31.7, 22.1), (-5.0, -4.0, 50.0, 40.0), (7.0, 7.0, 7.2, 20.0)])
@pytest.mark.parametrize("form", [_compressed, _uncompressed])
def test_an_rle_target_is_sampled_at_cell_centres(box, form):
    """Each cell takes the pixel under its centre; outside the image there is nothing."""
    bitmap, size = _bitmap(3), 14
    target = rasterize_roi_target(form(bitmap), box, size=size, height=H, width=W)
    x1, y1, x2, y2 = box
    for row in range(size):
        for column in range(size):
            x = int(np.floor(x1 + (column + 0.5) * max(x2 - x1, 1) / size))
            y = int(np.floor(y1 + (row + 0.5) * max(y2 - y1, 1) / size))
            expected = bitmap[y, x] if 0 <= x < W and 0 <= y < H else 0
            assert target[row, column] == expected
    assert target.dtype == np.uint8


@pytest.mark.parametrize("box", [(10.3, 7.8, 52.1, 40.6), (20.0, 20.0, 30.0, 90.0), (-20.0, -10.0, 90.0, 70.0)])
def test_a_polygon_target_agrees_with_fine_rasterisation(box):
    """Drawn by another library at 32 times the resolution, cells clearly inside or outside are the same."""
    polygon = [[12.5, 9.0, 48.0, 14.5, 44.0, 39.0, 27.5, 22.0, 15.0, 38.5], [30.0, 60.0, 50.0, 60.0, 40.0, 70.0]]
    size, fine = 28, 32
    target = rasterize_roi_target(polygon, box, size=size, height=100, width=100)
    coverage = _coverage(polygon, box, size, fine)
    clear = (coverage < 0.02) | (coverage > 0.98)
    # pycocotools rounds a polygon to the grid in fifths of a cell, and one cell at an edge may go either way
    assert (target[clear] == (coverage[clear] > 0.5)).mean() > 0.97
    assert abs(target.mean() - coverage.mean()) < 0.02
    assert set(np.unique(target)) <= {0, 1}


def _coverage(polygons: list[list[float]], box: tuple[float, ...], size: int, fine: int) -> np.ndarray:
    """Share of each cell that the polygons cover: drawn by Pillow on a grid `fine` times finer."""
    x1, y1, x2, y2 = box
    canvas = Image.new("1", (size * fine, size * fine))
    scale_x, scale_y = size * fine / max(x2 - x1, 1), size * fine / max(y2 - y1, 1)
    for polygon in polygons:
        points = [((x - x1) * scale_x, (y - y1) * scale_y) for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
        ImageDraw.Draw(canvas).polygon(points, fill=1)
    return np.asarray(canvas, dtype=float).reshape(size, fine, size, fine).mean(axis=(1, 3))


def test_a_polygon_target_is_drawn_in_the_roi_not_resized_from_the_image():
    """A diagonal through a box of 4 pixels is a diagonal of 28 cells, not four coarse steps."""
    target = rasterize_roi_target([[10, 10, 14, 10, 10, 14]], (10, 10, 14, 14), size=28, height=H, width=W)
    assert np.abs(target.sum(axis=1) - np.arange(28, 0, -1)).max() <= 1.5


def test_a_roi_thinner_than_a_pixel_counts_as_one():
    """Detectron's rule: the RoI's sides are at least 1 pixel, so nothing is divided by zero."""
    target = rasterize_roi_target([[5, 5, 6, 5, 6, 9, 5, 9]], (5.0, 5.0, 5.0, 9.0), size=28, height=H, width=W)
    assert target.all()


def test_an_absent_mask_has_no_target():
    """Asking for the target of an absent mask is an error, not an empty target."""
    with pytest.raises(DataError, match="has none"):
        rasterize_roi_target([[]], (0, 0, 5, 5), size=28, height=H, width=W)


@pytest.mark.parametrize("form", [_compressed, _uncompressed])
def test_flipping_an_rle_mirrors_its_pixels(form):
    """The flipped mask is the mirrored bitmap."""
    bitmap = _bitmap(5)
    flipped = flip_segmentation(form(bitmap), W)
    np.testing.assert_array_equal(coco_mask.decode(flipped), bitmap[:, ::-1])


def test_flipping_polygons_mirrors_their_points():
    """x becomes width - x, and flipping twice changes nothing; an absent mask stays absent."""
    polygon = [[1.0, 2.0, 10.0, 2.0, 10.0, 9.0]]
    assert flip_segmentation(polygon, W) == [[39.0, 2.0, 30.0, 2.0, 30.0, 9.0]]
    assert flip_segmentation(flip_segmentation(polygon, W), W) == polygon
    assert flip_segmentation([[]], W) is None


def test_real_targets_agree_with_fine_rasterisation(coco_mini: tuple[CocoData, CocoData]):
    """On real COCO polygons, of all sizes and with several parts, 28x28 targets match a fine drawing."""
    train, _ = coco_mini
    agreements = []
    for annotation in train.annotations()[:600]:
        if annotation.iscrowd:
            continue
        image = train.image(annotation.image_id)
        target = rasterize_roi_target(
            annotation.segmentation, annotation.box_xyxy, size=28, height=image.height, width=image.width
        )
        coverage = _coverage(annotation.segmentation, annotation.box_xyxy, 28, 8)
        clear = (coverage < 0.02) | (coverage > 0.98)
        agreements.append((target[clear] == (coverage[clear] > 0.5)).mean())
    assert min(agreements) > 0.9
    assert np.mean(agreements) > 0.99


def test_real_rle_targets_equal_sampling_the_decoded_image(coco_mini: tuple[CocoData, CocoData]):
    """Reading pixels from the run lengths gives what decoding the whole image gives."""
    _, val = coco_mini
    rles = [a for a in val.annotations() if isinstance(a.segmentation, dict)]
    assert {type(a.segmentation["counts"]) for a in rles} == {str, list}
    for annotation in rles:
        image = val.image(annotation.image_id)
        bitmap = coco_mask.decode(segmentation_to_rle(annotation.segmentation, image.height, image.width))
        x1, y1, x2, y2 = annotation.box_xyxy
        columns = np.floor(x1 + (np.arange(28) + 0.5) * max(x2 - x1, 1) / 28).astype(int)
        rows = np.floor(y1 + (np.arange(28) + 0.5) * max(y2 - y1, 1) / 28).astype(int)
        target = rasterize_roi_target(
            annotation.segmentation, annotation.box_xyxy, size=28, height=image.height, width=image.width
        )
        np.testing.assert_array_equal(target, bitmap[np.ix_(rows, columns)])
