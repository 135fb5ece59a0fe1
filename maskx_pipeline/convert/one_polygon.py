"""Several parts as one polygon, for formats that write an object as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def one_polygon(polygons: Sequence[Sequence[float]]) -> list[float]:
    """Join the parts of a mask by lines from corner to nearest corner, there and back: they enclose nothing.

    Args:
        polygons: ``[x1, y1, x2, y2, ..]`` each, at least one.

    Returns:
        One polygon that covers the same pixels.
    """
    parts = [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons]
    joined, rest = parts[0], parts[1:]
    while rest:
        ways = []
        for number, part in enumerate(rest):
            distances = np.square(joined[:, None] - part[None]).sum(axis=2)
            here, there = np.unravel_index(distances.argmin(), distances.shape)
            ways.append((distances[here, there], number, int(here), int(there)))
        _, number, here_at, there_at = min(ways)
        part = rest.pop(number)
        around = np.concatenate([part[there_at:], part[: there_at + 1]])
        joined = np.concatenate([joined[: here_at + 1], around, joined[here_at:]])
    flat: list[float] = joined.ravel().tolist()
    return flat
