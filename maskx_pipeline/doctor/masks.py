"""Masks that do not lie in their boxes: of another image, another size of it, or with their runs in another order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.findings import Finding, finding
from maskx_pipeline.data.kinds import MISFIT, SMALL
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.doctor.columns import Columns, columns_of, examples_of, overlaps

_INSIDE = 0.5
"""Of a mask's area in its box; of an honest mask it is nearly all."""

_COVERED = 0.25
"""Of a box by the box of its mask. A box of a whole object, with the mask of what is seen of it, has a third."""


def mask_findings(data: CocoData, part: str) -> list[Finding]:
    """Compare all masks with their boxes at once, crowds left out."""
    columns = columns_of(data)
    table = columns.table
    rows = np.flatnonzero(np.isfinite(table.extents).all(axis=1) & ~table.iscrowd)
    if not len(rows):
        return []
    masks = table.extents[rows, :4].T.astype(np.float64)
    x, y, w, h = table.boxes_xywh[rows].T
    boxes = np.stack([x, y, x + w, y + h])
    outside = table.extents[rows, 4] < _INSIDE
    both = np.stack([*np.maximum(masks[:2], boxes[:2]), *np.minimum(masks[2:], boxes[2:])])  # without stray pixels
    small = ~outside & (overlaps(both, boxes) < _COVERED)
    found = []
    for kind, wrong in ((MISFIT, outside), (SMALL, small)):
        if not wrong.any():
            continue
        examples = [
            f"{name}, mask in [{', '.join(f'{side:.4g}' for side in (x1, y1, x2 - x1, y2 - y1))}]"
            for name, (x1, y1, x2, y2) in zip(examples_of(data, rows[wrong]), masks[:, wrong].T.tolist(), strict=True)
        ]
        share = np.median(table.extents[rows[wrong], 4])
        said = f"a median of {100 * share:.0f} % of each is in its box" if kind == MISFIT else ""
        advice = _likely(masks[:, wrong], boxes[:, wrong], columns, rows[wrong], data) if kind == MISFIT else ""
        count = int(wrong.sum())
        found.append(finding(kind, part, count=count, of=len(rows), said=said, examples=examples, advice=advice))
    return found


def _likely(
    masks: NDArray[np.float64], boxes: NDArray[np.float64], columns: Columns, rows: NDArray[np.intp], data: CocoData
) -> str:
    """What the masks are, if most would fit when read so; empty if nothing is known to fit."""
    sides = np.stack([columns.widths[rows], columns.heights[rows]] * 2)
    readings = {
        "the coordinates are fractions of the image's sides: give them in pixels": masks * sides,
        "the coordinates are percent of the image's sides: give them in pixels": masks * sides / 100,
        "y stands before x in the polygons: write x first": masks[[1, 0, 3, 2]],
    }
    lengths = np.maximum(boxes[2:] - boxes[:2], 1e-9)
    scale = float(np.median((masks[2:] - masks[:2]) / lengths))
    if scale > 0:
        readings[f"the masks are of an image {scale:.3g} times as large: scale them as the boxes were"] = masks / scale
    for advice, read in readings.items():
        if np.median(overlaps(read, boxes)) > 0.85:
            return advice
    if all(isinstance(data.annotations().entries[int(row)]["segmentation"], dict) for row in rows[:3]):
        return (
            "runs of an RLE go down the columns, and the first is background: were these written along the rows, or "
            "with the object first?"
        )
    return ""
