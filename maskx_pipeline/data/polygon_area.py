"""Whether polygons enclose anything, or are only points and lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

SHORTEST_POLYGON = 6
"""Numbers in a triangle; fewer points enclose no area (and pycocotools would read four numbers as a box)."""

SURELY_SOME = 0.5
"""Square pixels. A polygon that encloses less is drawn, to see whether it is a line."""

_FRAME = 28
"""Cells per side of the frame that such a polygon is drawn in, as large as the target of the mask head."""


def polygons_are_empty(polygons: Sequence[object]) -> bool:
    """Whether there is nothing drawn, or only points and lines; what is no list of polygons is something."""
    written = [polygon for polygon in polygons if not (isinstance(polygon, list | tuple) and not polygon)]
    for polygon in written:
        if isinstance(polygon, np.ndarray):
            continue
        if not isinstance(polygon, list | tuple) or len(polygon) % 2 or not all(map(_is_finite, polygon)):
            return False
    if sum(len(polygon) < SHORTEST_POLYGON for polygon in written) > 1:  # type: ignore[arg-type]
        return len({*((p[0], p[1]) for p in written)}) == 1 and all(map(_is_point, written))  # type: ignore[index]
    return not any(_encloses(polygon) for polygon in written)


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _is_point(polygon: Any) -> bool:
    return len(set(polygon[0::2])) == len(set(polygon[1::2])) == 1


def _encloses(polygon: Any) -> bool:
    """Whether a polygon, numbers in pairs, has an area: one that is thin or crosses itself is drawn, to see."""
    if len(polygon) < SHORTEST_POLYGON:
        return False
    xs, ys = polygon[0::2], polygon[1::2]
    before_x, before_y = xs[-1], ys[-1]
    doubled = 0.0
    for x, y in zip(xs, ys, strict=True):
        doubled += before_x * y - x * before_y
        before_x, before_y = x, y
    if abs(doubled) > 2 * SURELY_SOME:
        return True
    x1, y1 = min(xs), min(ys)
    width, height = max(xs) - x1, max(ys) - y1
    if width <= 0 or height <= 0:
        return False
    points = np.array([((x - x1) / width, (y - y1) / height) for x, y in zip(xs, ys, strict=True)]) * _FRAME
    drawn = coco_mask.frPyObjects([points.ravel().tolist()], _FRAME, _FRAME)
    return bool(coco_mask.area(drawn).sum())
