"""Specks: small parts of a predicted mask, which are no part of the object and only work for who corrects it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from maskx_pipeline.data.masks import rle_of_pixels


def without_specks(mask: NDArray[np.uint8], least: float) -> tuple[NDArray[np.uint8], int]:
    """Drop the small parts of a mask. Pixels that share a side are of one part, as in the polygons around them.

    Args:
        mask (uint8 [H, W]): 1 inside the object.
        least: Share of all pixels of the mask, 0..1: what is smaller is a speck. Where every part is, as in a line of
            single pixels, none is dropped.

    Returns:
        The mask, the same array where nothing was dropped, and the number of parts that were dropped.
    """
    if least <= 0 or not mask.any():
        return mask, 0
    # Only the part of the image that the mask lies in is looked at.
    filled = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    here = tuple(slice(places[0], places[-1] + 1) for places in filled)
    rows, starts, ends = _runs(mask[here])
    part_of = _parts(rows, starts, ends)
    sizes = np.bincount(part_of, weights=ends - starts)
    speck = (sizes > 0) & (sizes < least * sizes.sum())
    if not speck.any() or (speck | (sizes == 0)).all():
        return mask, 0
    kept = mask.copy()
    inside = kept[here]
    for run in np.flatnonzero(speck[part_of]).tolist():
        inside[rows[run], starts[run] : ends[run]] = 0
    return kept, int(speck.sum())


def rle_without_specks(rle: dict[str, Any], least: float) -> tuple[dict[str, Any], int]:
    """The same for a compressed RLE as COCO writes it in JSON; it is given back as it is where nothing was dropped."""
    if least <= 0:
        return rle, 0
    kept, dropped = without_specks(coco_mask.decode(rle), least)
    if not dropped:
        return rle, 0
    return rle_of_pixels(kept), dropped


def label_parts(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The part of each pixel of a mask, int64 [H, W]: 1 or more, not without gaps; 0 outside."""
    rows, starts, ends = _runs(mask)
    parts = np.zeros(mask.shape, dtype=np.int64)
    for row, start, end, part in zip(rows, starts, ends, _parts(rows, starts, ends), strict=True):
        parts[row, start:end] = part + 1
    return parts


def _runs(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The runs of each row, from the top: row, first column, and the column behind the last."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    return rows, starts, np.nonzero(edges == -1)[1]


def _parts(rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of each run: the number of one of its runs, the same for all of them."""
    root = list(range(len(rows)))

    def find(run: int) -> int:
        while root[run] != run:
            root[run] = root[root[run]]
            run = root[run]
        return run

    above, runs = 0, list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
    for run, (row, start, end) in enumerate(runs):
        while runs[above][0] < row - 1 or (runs[above][0] == row - 1 and runs[above][2] <= start):
            above += 1
        other = above
        while runs[other][0] == row - 1 and runs[other][1] < end:
            root[find(run)] = find(other)
            other += 1
    return np.array([find(run) for run in range(len(runs))], dtype=np.int64)
