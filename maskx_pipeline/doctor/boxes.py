"""Boxes that are not [x, y, width, height] in pixels of their image, and objects that are there twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.findings import Finding, finding
from maskx_pipeline.data.kinds import CORNER, TWICE, misread
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.doctor.columns import Columns, columns_of, examples_of, overlaps

_FEW = 3  # boxes; of fewer, any may be so by chance
_MANY = 20
_ROUNDING = 1.0  # pixels
_FITS = 0.85
"""IoU of a mask's box with the object's: honest ones are above it."""

_CORNER = 0.6
"""Part of width and height: if no box of many reaches further, they are of something smaller."""

_SAME_OBJECT = 0.7
"""IoU of a box without a mask and one with a mask, of the same category."""

_Box = NDArray[np.float64]


def box_findings(data: CocoData, part: str) -> list[Finding]:
    """Look at all boxes at once."""
    columns = columns_of(data)
    if not len(columns.table):
        return []
    found = _misread_by_masks(data, columns, part) or _misread_by_image(data, columns, part)
    return [*found, *_twice(data, part)]


def _readings(numbers: _Box, width: _Box, height: _Box) -> dict[str, list[_Box]]:
    """What four numbers [4, N] may mean, as xyxy boxes in pixels; the same meaning in several ways."""
    a, b, c, d = numbers

    def ways(x: _Box, y: _Box, w: _Box, h: _Box) -> list[_Box]:
        shapes = ((x, y, x + w, y + h), (x, y, w, h), (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        return [np.stack(shape) for shape in shapes]

    plain, corners, centres = ways(a, b, c, d)
    swapped = ways(b, a, d, c)
    return {
        "": [plain],
        "corners": [corners],
        "centres": [centres],
        "fractions": ways(a * width, b * height, c * width, d * height),
        "percent": ways(a * width / 100, b * height / 100, c * width / 100, d * height / 100),
        "y before x": swapped,
    }


def _misread_by_masks(data: CocoData, columns: Columns, part: str) -> list[Finding]:
    """What fits the masks better than [x, y, width, height] does."""
    table = columns.table
    rows = np.flatnonzero(np.isfinite(table.extents[:, :4]).all(axis=1) & ~table.iscrowd)
    if len(rows) < _FEW:
        return []
    masks = table.extents[rows, :4].T.astype(np.float64)
    x, y, w, h = table.boxes_xywh[rows].T
    if np.median(overlaps(np.stack([x, y, x + w, y + h]), masks)) > _FITS - 0.1:
        return []
    readings = _readings(table.boxes_xywh[rows].T, columns.widths[rows], columns.heights[rows])
    fits = {name: max((overlaps(way, masks) for way in ways), key=np.median) for name, ways in readings.items()}
    as_written = fits.pop("")
    best = max(fits, key=lambda name: float(np.median(fits[name])))
    if np.median(fits[best]) < _FITS:
        return []
    inside = (masks[2] <= columns.widths[rows] + _ROUNDING) & (masks[3] <= columns.heights[rows] + _ROUNDING)
    if best == "y before x" and inside.mean() < 0.98:
        return []  # it is the masks that are written so
    wrong = rows[(fits[best] >= _FITS) & (fits[best] > as_written)]
    said = f"{_MEANING[best]}: so read, they fit the masks"
    return [finding(misread(best), part, count=len(wrong), of=len(rows), said=said, examples=examples_of(data, wrong))]


def _misread_by_image(data: CocoData, columns: Columns, part: str) -> list[Finding]:
    """What fits the images better, for boxes without masks."""
    a, b, c, d = columns.table.boxes_xywh.T
    width, height = columns.widths, columns.heights
    total = len(a)

    def made(reading: str, wrong: NDArray[np.bool_]) -> list[Finding]:
        examples = examples_of(data, np.flatnonzero(wrong))
        said = f"{_MEANING[reading]}"
        return [finding(misread(reading), part, count=int(wrong.sum()), of=total, said=said, examples=examples)]

    small = (np.maximum.reduce([a, b, c, d]) <= 1.5) & (np.minimum(width, height) > 16)
    if small.sum() >= _FEW and 2 * small.sum() >= total:
        return made("fractions", small)
    outside = (a + c > width + _ROUNDING) | (b + d > height + _ROUNDING)
    if outside.sum() >= _FEW and 10 * outside.sum() >= total:
        for reading in ("corners", "centres", "y before x"):
            for x1, y1, x2, y2 in _readings(columns.table.boxes_xywh.T, width, height)[reading]:
                sound = (x1 >= -_ROUNDING) & (y1 >= -_ROUNDING) & (x2 > x1) & (y2 > y1)
                sound &= (x2 <= width + _ROUNDING) & (y2 <= height + _ROUNDING)
                if sound.mean() >= 0.98:
                    return made(reading, sound)
    reaches = ((a + c) / width).max(), ((b + d) / height).max()
    if total >= _MANY and max(reaches) <= _CORNER:
        percent = (a + c).max() <= 100.5 and (b + d).max() <= 100.5 and max((a + c).max(), (b + d).max()) > 90
        said = f"none reaches beyond {100 * max(reaches):.0f} % of width or height"
        said += "; they look like percent" if percent else ""
        return [finding(CORNER, part, count=total, of=total, said=said, examples=examples_of(data, range(total)))]
    return []


_MEANING = {
    "corners": "[x1, y1, x2, y2]",
    "centres": "[centre x, centre y, width, height]",
    "fractions": "0 to 1, parts of the image's width and height",
    "percent": "0 to 100, percent of the image's width and height",
    "y before x": "y stands before x",
}


def _twice(data: CocoData, part: str) -> list[Finding]:
    """Equal boxes of a category, and boxes without a mask around an object of the category that has one."""
    table = data.annotations()
    plain = np.flatnonzero(~table.iscrowd)
    again = np.zeros(len(table), dtype=bool)
    again[plain[_equal(table.image_ids[plain], table.labels[plain], table.boxes_xywh[plain])]] = True
    again[_around_masked(data, plain)] = True
    rows = np.flatnonzero(again)
    if not len(rows):
        return []
    return [finding(TWICE, part, count=len(rows), of=len(plain), examples=examples_of(data, rows))]


def _equal(images: NDArray[np.int64], labels: NDArray[np.int32], boxes: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows that say what an earlier one says: found by a number made of all, which is sorted once."""
    mixed = images.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + labels.astype(np.uint64)
    for side in np.ascontiguousarray((boxes + 0.0).T).view(np.uint64):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + side
    order = np.argsort(mixed, kind="stable")
    return np.sort(order[1:][mixed[order][1:] == mixed[order][:-1]])


def _around_masked(data: CocoData, plain: NDArray[np.intp]) -> NDArray[np.intp]:
    table = data.annotations()
    key = table.image_ids[plain] * (data.num_classes + 1) + table.labels[plain]
    if not len(key) or not table.has_mask[plain].any():
        return np.empty(0, dtype=np.intp)
    order = np.argsort(key, kind="stable")  # one sort: looking for distinct keys in a hash table is far slower
    keys, rows = key[order], plain[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(keys) != 0)))
    masked = table.has_mask[rows]
    some_but_not_all = np.logical_or.reduceat(masked, starts) & ~np.logical_and.reduceat(masked, starts)
    both = np.repeat(some_but_not_all, np.diff(np.append(starts, len(keys))))
    keys, rows = keys[both], rows[both]
    found = []
    for group in np.split(rows, np.flatnonzero(np.diff(keys)) + 1) if len(rows) else []:
        with_mask, without = group[table.has_mask[group]], group[~table.has_mask[group]]
        boxes = table.boxes_xyxy[with_mask].T[:, :, None], table.boxes_xyxy[without].T[:, None, :]
        found.append(without[(overlaps(*boxes) >= _SAME_OBJECT).any(axis=0)])
    return np.concatenate(found) if found else np.empty(0, dtype=np.intp)
