"""From the pixels of a mask to polygons as COCO files hold them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

_TOLERANCE = 1.0
"""Pixels. A corner less than this off the line between its neighbours is left out: the stairs of the pixels go."""

_DIAGONAL = 0.72
"""Pixels. Just enough for the stairs of a diagonal; for parts that the tolerance above would change too much."""

_PER_SIDE = 0.005
"""The same, relative to the longer side of the mask: a large mask, enlarged from few cells, has no finer shape."""

_MOST_CHANGED = 0.1
"""Of the area of a part. Where leaving out corners would change more, as in a part of few pixels, they all stay."""


class Outline(NamedTuple):
    """The outline of a mask; ``holes`` are the pixels inside it that are not the mask's."""

    polygons: list[list[float]]
    holes: int


def outline_of(mask: NDArray[np.uint8]) -> Outline:
    """Draw around the pixels of a mask.

    The polygons run along the edges of the pixels (pixel 0 reaches from 0 to 1), as pycocotools draws them, with the
    stairs smoothed away. COCO's polygons are a union and know no holes, so holes are filled, as they are in COCO's own
    annotations.

    Args:
        mask (uint8 [H, W]): 1 inside the object; not empty.

    Returns:
        A polygon ``[x1, y1, x2, y2, ..]`` for each part, the largest first.
    """
    pixels = _pixels_of(mask)
    union = shapely.union_all([shapely.Polygon(piece.exterior) for piece in shapely.get_parts(pixels)])
    filled = [shapely.Polygon(piece.exterior) for piece in shapely.get_parts(union)]  # no islands in filled holes
    west, south, east, north = pixels.bounds
    tolerance = max(_TOLERANCE, _PER_SIDE * max(north - south, east - west + 2))
    filled.sort(key=lambda piece: -piece.area)
    holes = round(union.area - pixels.area)
    return Outline([_flat(_smooth(piece, tolerance).exterior) for piece in filled], holes)


def rings_of(mask: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """The outlines of the parts of a mask and of its holes; filled by the even-odd rule they are the mask.

    Args:
        mask (uint8 [H, W]): 1 inside the object; not empty.

    Returns:
        float [N, 2] each, x and y of the corners.
    """
    smooth = shapely.simplify(_pixels_of(mask), _DIAGONAL, preserve_topology=True)
    rings = [ring for piece in shapely.get_parts(smooth) for ring in (piece.exterior, *piece.interiors)]
    return [np.asarray(ring.coords, dtype=np.float64)[:-1] for ring in rings]


def _pixels_of(mask: NDArray[np.uint8]) -> Any:
    """The union of the pixels of a mask, a square each."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(part, axis=1)
    run_rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return shapely.union_all(shapely.box(starts + left, run_rows + top, ends + left, run_rows + top + 1))


def _smooth(piece: Any, tolerance: float) -> Any:
    for reach in (tolerance, _DIAGONAL):
        smooth = shapely.simplify(piece, reach, preserve_topology=True)
        if shapely.symmetric_difference(smooth, piece).area <= _MOST_CHANGED * piece.area:
            return smooth
    return piece


def _flat(ring: Any) -> list[float]:
    """The corners of a ring, the first one not repeated."""
    return [float(number) for number in np.asarray(ring.coords)[:-1].ravel().tolist()]
