"""Masks as COCO writes them: absent, polygons, or RLE (uncompressed or compressed)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from maskx_pipeline.data.polygon_area import SHORTEST_POLYGON, polygons_are_empty
from maskx_pipeline.errors import DataError, with_article

HOW_WRITTEN = "COCO writes a mask as a list of lists, [[x1, y1, x2, y2, ...]], one for each part, or as RLE"

NO_PIXEL = "it covers no pixel"

TEACHER = "teacher:"
"""How the ``mask_source`` of a mask by a teacher begins."""


def mask_is_absent(segmentation: object) -> bool:
    """Tell whether an annotation has no mask; the one place where this is decided.

    Broken is not absent: what cannot be read may still be what a person drew.

    Args:
        segmentation: The value of the annotation's ``segmentation`` key, None where the key is missing.

    Returns:
        True for None, ``[]``, a list that holds only empty polygons, and a mask without a pixel: a point, a line, or an
        RLE that is all background.
    """
    if segmentation is None:
        return True
    if isinstance(segmentation, dict):
        return _rle_is_empty(segmentation)
    return isinstance(segmentation, list | tuple) and polygons_are_empty(segmentation)


def is_from_teacher(mask_source: object) -> bool:
    """Tell whether a mask was made by a teacher, and so is never truth; the one place where this is decided.

    Args:
        mask_source: The value of the annotation's ``mask_source`` key, None where the key is missing.
    """
    return isinstance(mask_source, str) and mask_source.startswith(TEACHER)


def segmentation_fault(segmentation: object, *, height: int, width: int) -> str | None:
    """Say what is wrong with a mask; None for a sound mask and where none is written.

    A mask without a pixel has a fault and is absent.
    A mask that passes can be given to pycocotools, which itself checks neither coordinates nor run lengths.
    """
    if segmentation is None:
        return None
    if isinstance(segmentation, list | tuple):
        return _polygon_fault(segmentation, reach=max(height, width))
    if not isinstance(segmentation, dict):
        return f"it is {with_article(type(segmentation).__name__)}, neither polygons nor RLE"
    try:
        counts = rle_runs(segmentation, height, width)
    except DataError as error:
        return NO_PIXEL if _rle_is_empty(segmentation) else error.message
    return None if counts[1::2].any() else NO_PIXEL


def sound_runs(segmentation: dict[str, Any], height: int, width: int) -> NDArray[np.int64] | None:
    """Run lengths of an RLE, background first; None if it is broken or covers no pixel."""
    try:
        runs = rle_runs(segmentation, height, width)
    except DataError:
        return None
    return runs if runs[1::2].any() else None


def rasterize_roi_target(
    segmentation: object,
    box_xyxy: tuple[float, float, float, float] | NDArray[np.floating[Any]],
    *,
    size: int,
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """Draw a mask in the frame of a RoI, as the target of the mask head.

    Polygons are shifted and scaled into the RoI and then rasterised at the target's own resolution, as Detectron does
    (``utils/segms.py``: the RoI's sides are at least 1 pixel). An RLE is sampled at the centres of the RoI's cells.

    Args:
        segmentation: Polygons or RLE, as in the annotation; not absent.
        box_xyxy: The RoI in pixels of the image; parts of it may lie outside the image.
        size: Cells per side, M.

    Returns:
        uint8 array [M, M], 1 inside the object and 0 elsewhere.

    Raises:
        DataError: The mask is absent or broken.
    """
    x1, y1, x2, y2 = (float(side) for side in box_xyxy)
    scale_x, scale_y = size / max(x2 - x1, 1.0), size / max(y2 - y1, 1.0)
    if isinstance(segmentation, dict):
        columns = np.floor(x1 + (np.arange(size) + 0.5) / scale_x).astype(np.int64)
        rows = np.floor(y1 + (np.arange(size) + 0.5) / scale_y).astype(np.int64)
        return _sample_rle(segmentation, rows, columns, height, width)
    shifted = []
    for polygon in _polygons(segmentation):
        points = np.array(polygon, dtype=np.float64)
        points[0::2] = (points[0::2] - x1) * scale_x
        points[1::2] = (points[1::2] - y1) * scale_y
        shifted.append(points)
    return np.asarray(coco_mask.decode(_rle_of_polygons(shifted, size, size)), dtype=np.uint8)


def segmentation_to_rle(segmentation: object, height: int, width: int) -> dict[str, Any]:
    """Convert any mask to compressed RLE.

    Returns:
        ``{"size": [height, width], "counts": bytes}``, the form pycocotools works with.

    Raises:
        DataError: The mask is absent or broken.
    """
    if not isinstance(segmentation, dict):
        return _rle_of_polygons(_polygons(segmentation), height, width)
    counts = rle_runs(segmentation, height, width)
    rle: dict[str, Any] = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return rle


def rle_of_pixels(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask [H, W], 0 or 1, as COCO writes it in JSON: ``{"size": [height, width], "counts": str}``."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def pixels_of_box(box_xyxy: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """The pixels whose centres lie in a box, at least one, inside the image.

    Returns:
        x1, y1, x2, y2; the ends are not among them.
    """
    (x1, x2), (y1, y2) = (_span(box_xyxy[i], box_xyxy[i + 2], size) for i, size in enumerate((width, height)))
    return x1, y1, x2, y2


def flip_segmentation(segmentation: object, width: int) -> object:
    """Mirror a mask in an image of the given width; an absent mask stays absent."""
    if mask_is_absent(segmentation):
        return None
    if isinstance(segmentation, dict):
        height = _rle_size(segmentation)[0]
        bitmap = coco_mask.decode(segmentation_to_rle(segmentation, height, width))
        return coco_mask.encode(np.asfortranarray(bitmap[:, ::-1]))
    mirrored = []
    for polygon in _polygons(segmentation):
        points = np.array(polygon, dtype=np.float64)
        points[0::2] = width - points[0::2]
        mirrored.append(points.tolist())
    return mirrored


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    first = min(max(math.floor(low + 0.5), 0), size - 1)
    return first, max(min(math.floor(high + 0.5), size), first + 1)


def _rle_is_empty(segmentation: dict[str, Any]) -> bool:
    """Whether an RLE has no run of the object, whatever else is wrong with it."""
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        return all(isinstance(run, int) for run in counts) and not any(counts[1::2])
    if not isinstance(counts, str | bytes) or len(counts) > _LONGEST_EMPTY:
        return False
    try:
        text = counts.encode("utf-8") if isinstance(counts, str) else counts
        return not text or not _decompress(text)[1::2].any()
    except DataError:
        return False


_LONGEST_EMPTY = 32
"""Characters of a compressed RLE; a longer one has many runs."""


def _polygons(segmentation: object) -> list[Any]:
    found = segmentation if isinstance(segmentation, list | tuple) else []
    polygons = [polygon for polygon in found if len(polygon) >= SHORTEST_POLYGON]
    if not polygons:
        raise DataError("a mask was asked for where the annotation has none.")
    return polygons


def _rle_of_polygons(polygons: list[Any], height: int, width: int) -> dict[str, Any]:
    """The union of the polygons."""
    rle: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects([list(p) for p in polygons], height, width))
    return rle


def _polygon_fault(polygons: list[Any] | tuple[Any, ...], *, reach: int) -> str | None:
    """Coordinates further outside the image than its longer side cannot be meant, and would exhaust the memory."""
    if _are_points(polygons):
        return "it is a list of points [[x, y], ...], where COCO has a list of lists [[x1, y1, x2, y2, ...]]"
    for polygon in polygons:
        if not isinstance(polygon, list | tuple | np.ndarray):
            return "polygons must be a list of lists of numbers"
        if len(polygon) % 2:
            return f"a polygon has an odd number of coordinates ({len(polygon)})"
        try:
            if not all(map(math.isfinite, polygon)):
                return "a polygon has a coordinate that is not finite"
        except (TypeError, OverflowError):
            return "a polygon has a coordinate that is not a number"
        if len(polygon) and not (-reach <= min(polygon) and max(polygon) <= 2 * reach):
            return "a polygon has a coordinate far outside the image"
    if not any(len(polygon) for polygon in polygons):
        return None
    if all(len(polygon) < SHORTEST_POLYGON for polygon in polygons):
        return "each polygon has fewer than three points"
    return NO_PIXEL if polygons_are_empty(polygons) else None


def _are_points(polygons: Sequence[object]) -> bool:
    """``[[x, y], ...]``, also with a list around it."""
    inner = polygons[0] if len(polygons) == 1 and isinstance(polygons[0], list | tuple) else polygons
    return len(inner) > 1 and all(isinstance(p, list | tuple) and len(p) == 2 for p in inner)


def _sample_rle(
    segmentation: dict[str, Any], rows: NDArray[np.int64], columns: NDArray[np.int64], height: int, width: int
) -> NDArray[np.uint8]:
    """Read single pixels from the run lengths, without decoding the image: uint8 [rows, columns]."""
    ends = np.cumsum(rle_runs(segmentation, height, width))
    position = np.clip(columns, 0, width - 1)[None, :] * height + np.clip(rows, 0, height - 1)[:, None]
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None, :]
    run = np.searchsorted(ends, position, side="right")
    sampled: NDArray[np.uint8] = ((run % 2 == 1) & inside).astype(np.uint8)
    return sampled


def _rle_size(segmentation: dict[str, Any]) -> tuple[int, int]:
    size = segmentation.get("size")
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise DataError(f"the RLE's size is {size!r}, not [height, width]")
    return size[0], size[1]


def rle_runs(segmentation: dict[str, Any], height: int, width: int) -> NDArray[np.int64]:
    """Run lengths of an RLE, background first, checked against the size of the image."""
    size = _rle_size(segmentation)
    if size != (height, width):
        raise DataError(f"the RLE is {size[1]}x{size[0]} pixels, the image {width}x{height}")
    counts = segmentation.get("counts")
    if isinstance(counts, str | bytes):
        runs = _decompress(counts.encode("utf-8") if isinstance(counts, str) else counts)
    elif isinstance(counts, list) and all(isinstance(run, int) and abs(run) <= height * width for run in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        raise DataError("the RLE's counts are neither run lengths nor compressed text")
    if (runs < 0).any() or runs.sum() != height * width:
        raise DataError(f"the RLE's run lengths do not add up to the {height * width} pixels of the image")
    return runs


def _decompress(text: bytes) -> NDArray[np.int64]:
    """Run lengths of COCO's compressed RLE.

    Each number is little-endian in 5-bit groups, one per character (48 added), bit 5 saying that more follow; from
    the fourth number on, the number two places before has been subtracted.
    """
    groups = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((groups & 32) == 0)
    if not len(groups) or groups.min() < 0 or groups.max() > 63 or not len(ends) or ends[-1] != len(groups) - 1:
        raise DataError("the RLE's counts are not valid compressed text")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 8:
        raise DataError("the RLE's counts are not valid compressed text")
    place = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((groups & 31) << place, starts)
    numbers -= np.where(groups[ends] & 16, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
