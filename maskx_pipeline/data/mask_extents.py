"""Where masks lie: the box around each, and how much of it is in the object's own box; polygons by the thousand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.masks import mask_is_absent, rle_runs
from maskx_pipeline.data.polygon_area import SHORTEST_POLYGON

_MARGIN = 1.0
"""Pixels around the object's box: files round either."""

_SMALLEST = 1e-6  # pixels; keeps the shares of lines finite


def extents_of_polygons(
    masks: Sequence[Sequence[Sequence[float]]], boxes_xywh: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The places of masks that are polygons, all at once.

    Args:
        masks: N masks of one polygon or more, each of three points or more.
        boxes_xywh: float64[4, N], the objects' own boxes.

    Returns:
        float32[5, N], rows as in `AnnotationColumns.extents`, and float64[N], the area in square pixels that the
        polygons enclose; of one that crosses itself it is too small.
    """
    if not masks:
        return np.empty((5, 0), np.float32), np.empty(0)
    parts = list(chain.from_iterable(masks))
    points = np.fromiter(map(len, parts), np.int64, len(parts)) // 2
    flat = np.fromiter(chain.from_iterable(parts), np.float64, 2 * int(points.sum()))
    x, y = flat[0::2], flat[1::2]
    ends = np.cumsum(points)
    starts = ends - points
    following = np.arange(1, len(x) + 1)
    following[ends - 1] = starts
    areas = np.abs(np.add.reduceat(x * y[following] - x[following] * y, starts)) / 2
    boxes = _bounds(x, y, x, y, starts=starts)
    counts = np.fromiter(map(len, masks), np.int64, len(masks))
    firsts = np.cumsum(counts) - counts
    inside = _share_inside(boxes, np.repeat(boxes_xywh, counts, axis=1))
    whole = np.add.reduceat(areas, firsts)
    weights = np.maximum(areas, _SMALLEST)
    share = np.add.reduceat(inside * weights, firsts) / np.add.reduceat(weights, firsts)
    return np.concatenate([_bounds(*boxes[:4], starts=firsts), share[None]]).astype(np.float32), whole


def extent_of_mask(
    segmentation: object, box_xywh: Sequence[float], size: tuple[int, int]
) -> list[float] | NDArray[np.float32]:
    """The same of one sound mask of any kind, in an image of (height, width)."""
    if isinstance(segmentation, dict):
        return extent_of_runs(rle_runs(segmentation, *size), box_xywh, size)
    polygons = [p for p in segmentation if len(p) >= SHORTEST_POLYGON] if isinstance(segmentation, list) else []
    if mask_is_absent(polygons):
        return UNKNOWN
    return extents_of_polygons([polygons], np.array(box_xywh, dtype=np.float64)[:, None])[0][:, 0]


_WIDEST = 1 << 20
"""Pixels; of a wider image, which no file can be, columns are not counted: they would fill the memory."""

UNKNOWN = [np.nan] * 5
"""Of what has no mask."""


def extent_of_runs(runs: NDArray[np.int64], box_xywh: Sequence[float], size: tuple[int, int]) -> list[float]:
    """The same of an RLE by its runs, which go down the columns, background first."""
    height, width = size
    ends = np.cumsum(runs)
    begins, stops = (ends - runs)[1::2], ends[1::2]
    begins, stops = begins[stops > begins], stops[stops > begins]
    first, last = begins // height, (stops - 1) // height
    low, high = begins % height, (stops - 1) % height + 1
    over = last > first  # such a run ends one column and begins the next
    box = (first.min(), 0 if over.any() else low.min(), last.max() + 1, height if over.any() else high.max())
    x, y, w, h = box_xywh
    if not all(map(math.isfinite, (x, y, w, h, x + w, y + h))) or width > _WIDEST:
        return [*map(float, box), np.nan]
    left, right = (min(max(side, 0), width) for side in (math.floor(x - _MARGIN), math.ceil(x + w + _MARGIN)))
    columns = np.arange(left, right) * height
    top, bottom = (min(max(round(side), 0), height) for side in (y - _MARGIN, y + h + _MARGIN))
    covered = np.zeros(len(runs) + 1, dtype=np.int64)
    covered[2::2] = runs[1::2]
    before = np.cumsum(covered)
    edges = np.concatenate(([0], ends))
    within = np.interp(columns + bottom, edges, before) - np.interp(columns + top, edges, before)
    return [*map(float, box), float(max(within.sum(), 0) / before[-1])]


def _bounds(
    x1: NDArray[np.float64],
    y1: NDArray[np.float64],
    x2: NDArray[np.float64],
    y2: NDArray[np.float64],
    *,
    starts: NDArray[np.int64],
) -> NDArray[np.float64]:
    lows = [np.minimum.reduceat(side, starts) for side in (x1, y1)]
    return np.stack([*lows, *(np.maximum.reduceat(side, starts) for side in (x2, y2))])


def _share_inside(boxes_xyxy: NDArray[np.float64], around_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each box [4, N], the part that is in another."""
    x1, y1, x2, y2 = boxes_xyxy
    x, y, w, h = around_xywh
    share = np.ones(len(x1))
    for low, high, begin, end in ((x1, x2, x, x + w), (y1, y2, y, y + h)):
        length = np.maximum(high - low, _SMALLEST)
        overlap = np.minimum(low + length, end + _MARGIN) - np.maximum(low, begin - _MARGIN)
        share *= np.clip(overlap, 0, None) / length
    return share
