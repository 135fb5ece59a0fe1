"""COCO's matching of detections to objects, and the precision and recall that follow, for one category.

The arithmetic of ``pycocotools.cocoeval``, operation by operation, so that the numbers are the same to the last digit;
but each step is done for all IoU thresholds and area ranges at once. The IoU itself is computed by pycocotools.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import Params

from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS

Shape = Any
"""A box as a list of x, y, width, height in pixels, or a mask as compressed RLE."""

_PARAMS = Params("bbox")  # those of masks are the same
_IOUS = np.minimum(_PARAMS.iouThrs, 1 - 1e-10)
_RECALLS: NDArray[np.float64] = _PARAMS.recThrs
_SMALLEST, _LARGEST = np.array(_PARAMS.areaRng, dtype=np.float64).T[:, :, None]
_AREAS_AT_ONCE = 255  # pycocotools counts them in a byte

PRECISION_SHAPE = (len(_IOUS), len(_RECALLS), len(_SMALLEST))
"""10 IoU thresholds, 101 recalls, 4 area ranges."""

RECALL_SHAPE = (len(_IOUS), len(_SMALLEST))
"""10 IoU thresholds, 4 area ranges."""


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one category in all images.

    Attributes:
        image_ids: int64[N].
        areas: float64[N], in pixels.
        crowds: bool[N]: regions on which any number of detections counts neither way.
    """

    image_ids: NDArray[np.int64]
    shapes: Sequence[Shape]
    areas: NDArray[np.float64]
    crowds: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Found:
    """The detections of one category in all images.

    Attributes:
        image_ids: int64[N].
        shapes: N boxes or masks, as those of the objects.
        scores: float64[N].
    """

    image_ids: NDArray[np.int64]
    shapes: Sequence[Shape]
    scores: NDArray[np.float64]


def precision_and_recall(
    objects: Objects,
    found: Found,
    *,
    most: int = MOST_DETECTIONS,
    not_exhaustive: Collection[int] = frozenset(),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The precision of one category at each recall, and the recall that is reached.

    Args:
        most: The detections of an image that count, the best ones.
        not_exhaustive: Ids of images in which a detection that matches nothing counts neither way.

    Returns:
        float64[10 IoU thresholds, 101 recalls, 4 area ranges] and float64[10, 4], 0..1; -1 where there is no object
        to find.
    """
    rows = _by_image_and_score(found, most)
    ignored_objects = objects.crowds | _outside(objects.areas)
    matched, ignored = _match_all(objects, ignored_objects, found, rows)
    ignored |= ~matched & _outside(_areas([found.shapes[row] for row in rows.tolist()]))[:, None]

    if not_exhaustive:
        ignored |= ~matched & np.isin(found.image_ids[rows], list(not_exhaustive))
    by_score = np.argsort(-found.scores[rows], kind="stable")
    true = (matched & ~ignored)[..., by_score]
    false = (~matched & ~ignored)[..., by_score]
    precision, recall = np.full(PRECISION_SHAPE, -1.0), np.full(RECALL_SHAPE, -1.0)
    for size, wanted in enumerate((~ignored_objects).sum(axis=1)):
        for threshold in range(len(_IOUS) if wanted else 0):
            precision[threshold, :, size] = _at_recalls(true[size, threshold], false[size, threshold], wanted)
            recall[threshold, size] = true[size, threshold].sum() / wanted
    return precision, recall


def _by_image_and_score(found: Found, most: int) -> NDArray[np.int64]:
    """The rows of the detections that count, by image and falling score; of equal scores the first is the first."""
    rows = np.lexsort((-found.scores, found.image_ids))
    _, starts, counts = np.unique(found.image_ids[rows], return_index=True, return_counts=True)
    rank = np.arange(len(rows)) - np.repeat(starts, counts)
    return rows[rank < most]


def _match_all(
    objects: Objects, ignored_objects: NDArray[np.bool_], found: Found, rows: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Match in each image.

    Args:
        ignored_objects: bool[4, number of objects].
        rows: The detections that count.

    Returns:
        Twice bool[4, 10, rows]: the detection has an object; and it is one that is ignored.
    """
    matched = np.zeros((len(_SMALLEST), len(_IOUS), len(rows)), dtype=np.bool_)
    ignored = np.zeros_like(matched)
    own = np.argsort(objects.image_ids, kind="stable")
    images, starts, counts = np.unique(objects.image_ids[own], return_index=True, return_counts=True)
    of_detections = found.image_ids[rows]
    firsts, ends = (np.searchsorted(of_detections, images, side=side) for side in ("left", "right"))
    for first, end, start, count in zip(firsts.tolist(), ends.tolist(), starts.tolist(), counts.tolist(), strict=True):
        if first == end:
            continue
        here = own[start : start + count]
        ious = coco_mask.iou(
            [found.shapes[row] for row in rows[first:end].tolist()],
            [objects.shapes[row] for row in here.tolist()],
            objects.crowds[here].astype(np.uint8).tolist(),
        )
        _match(ious, ignored_objects[:, here], objects.crowds[here], matched[..., first:end], ignored[..., first:end])
    return matched, ignored


def _match(
    ious: NDArray[np.float64],
    ignored_objects: NDArray[np.bool_],
    crowds: NDArray[np.bool_],
    matched: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
) -> None:
    """Match the D detections of one image, best first, each to the free object that it overlaps most.

    Objects that count come before ignored ones; of two with the same IoU the later is taken; a crowd is always free.

    Args:
        ious: float64[D, G].
        ignored_objects: bool[4, G].
        crowds: bool[G].
        matched, ignored: bool[4, 10, D], written.
    """
    count = ious.shape[1]
    ranks = ious.argsort(axis=1, kind="stable").argsort(axis=1)[:, None, :] + count * ~ignored_objects
    enough = ious[:, None, :] >= _IOUS[:, None]
    free = np.ones((*matched.shape[:2], count), dtype=np.bool_)
    sizes, thresholds = np.ogrid[: len(_SMALLEST), : len(_IOUS)]
    for detection in np.flatnonzero(enough[:, 0].any(axis=1)).tolist():
        possible = free & enough[detection]
        best = np.where(possible, ranks[detection][:, None], -1).argmax(axis=2)
        hit = possible.any(axis=2)
        matched[..., detection] = hit
        ignored[..., detection] = hit & ignored_objects[sizes, best]
        free[sizes, thresholds, best] &= ~hit | crowds[best]


def _at_recalls(true: NDArray[np.bool_], false: NDArray[np.bool_], wanted: int) -> NDArray[np.float64]:
    """The best precision at each recall or above it, from detections by falling score: float64[101]."""
    hits = true.cumsum().astype(np.float64)
    misses = false.cumsum().astype(np.float64)
    precision = hits / (misses + hits + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / wanted, _RECALLS, side="left")
    return np.append(best, 0.0)[places]


def _outside(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[4, N]: not in the area range."""
    outside: NDArray[np.bool_] = (areas < _SMALLEST) | (areas > _LARGEST)
    return outside


def _areas(shapes: Sequence[Shape]) -> NDArray[np.float64]:
    if not shapes:
        return np.zeros(0)
    if isinstance(shapes[0], dict):
        starts = range(0, len(shapes), _AREAS_AT_ONCE)
        parts = [coco_mask.area(list(shapes[start : start + _AREAS_AT_ONCE])) for start in starts]
        return np.concatenate(parts).astype(np.float64)
    sides = np.array(shapes, dtype=np.float64)
    areas: NDArray[np.float64] = sides[:, 2] * sides[:, 3]
    return areas
