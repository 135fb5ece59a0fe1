"""Which objects of the training data are stored, and which RoIs of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.masks import flip_segmentation
from maskx_pipeline.data.records import Annotation, CocoData

Boxes = NDArray[np.float32]

_JITTER = 2  # another stream of random numbers than those that choose proposals, 0 and 1


@dataclass(frozen=True)
class ObjectRoIs:
    """The RoIs of one object: its own box first, then that box moved, if it is, then proposals.

    Attributes:
        boxes_xyxy: float32 [n, 4], in pixels.
        ious: float32 [n], IoU with the object's box; 1 for the first.
    """

    annotation: Annotation
    boxes_xyxy: Boxes
    ious: NDArray[np.float32]


def choose_objects(config: ExportConfig, train: CocoData) -> NDArray[np.bool_]:
    """Choose the training objects whose RoIs are stored: all that have a mask, and some that have none.

    Of each category, at most ``unmasked_objects`` without a mask are drawn. The draw follows from the seed and their
    annotation ids alone, and a smaller number takes a part of what a larger one takes. A crowd is never chosen, and
    none is where only val is stored.

    Returns:
        bool [M], for each row of ``train.annotations()``.
    """
    table = train.annotations()
    if config.only == "val":
        return np.zeros(len(table.ids), dtype=bool)
    chosen = table.has_mask & ~table.iscrowd
    unmasked = np.flatnonzero(~table.has_mask & ~table.iscrowd)
    if config.unmasked_objects == "all":
        chosen[unmasked] = True
        return chosen
    most = 0 if config.unmasked_objects == "none" else int(config.unmasked_objects)
    unmasked = unmasked[np.lexsort((table.ids[unmasked], table.labels[unmasked]))]
    ends = np.flatnonzero(np.diff(table.labels[unmasked])) + 1
    for rows in np.split(unmasked, ends):
        chosen[np.random.default_rng(config.seed).permutation(rows)[:most]] = True
    return chosen


def choose_rois(
    annotations: Sequence[Annotation],
    proposals_xyxy: Boxes,
    *,
    chosen: Sequence[bool] | NDArray[np.bool_],
    rois_per_object: int,
    proposal_iou: float,
    box_jitter: float,
    seed: int,
    flipped: bool,
    image_size: tuple[int, int],
) -> list[ObjectRoIs]:
    """Choose the RoIs of the chosen objects.

    All boxes take part in the matching, whether their masks are absent, seen or unseen, and whether chosen or not: a
    proposal belongs to the object it overlaps most (the first of equals). Which proposals an object gets depends on
    boxes and on its own id alone, so what a mask looks like changes nothing of another object. Crowds take no part.

    Args:
        proposals_xyxy: float32 [P, 4], in pixels.
        chosen: For each annotation, whether its RoIs are stored; see :func:`choose_objects`.
        proposal_iou: The smallest IoU of a proposal with its object.
        box_jitter: See :func:`moved_box`; 0 adds no such RoI.
        flipped: Whether the image is mirrored; makes the choice another one.
        image_size: (height, width) in pixels; a moved box is cut where it leaves the image.

    Returns:
        One entry per chosen object, in the order of the annotations.
    """
    objects, wanted = [], []
    for annotation, is_chosen in zip(annotations, chosen, strict=True):
        if not annotation.iscrowd:
            objects.append(annotation)
            wanted.append(bool(is_chosen))
    if not objects:
        return []
    boxes = np.array([annotation.box_xyxy for annotation in objects], dtype=np.float32)
    overlaps = box_iou(np.asarray(proposals_xyxy, dtype=np.float32).reshape(-1, 4), boxes)
    owners = overlaps.argmax(axis=1)
    best = overlaps.max(axis=1)
    usable = (best >= proposal_iou) & (best > 0)
    stored = []
    for number, annotation in enumerate(objects):
        if not wanted[number]:
            continue
        mine = np.flatnonzero(usable & (owners == number))
        if len(mine) > rois_per_object:
            generator = np.random.default_rng([seed, annotation.id % 2**64, int(flipped)])
            mine = np.sort(generator.choice(mine, rois_per_object, replace=False))
        own = boxes[number : number + 1]
        moved = own[:0]
        if box_jitter > 0:
            moved = moved_box(annotation, share=box_jitter, seed=seed, image_size=image_size)[None]
        stored.append(
            ObjectRoIs(
                annotation=annotation,
                boxes_xyxy=np.concatenate([own, moved, proposals_xyxy[mine]]).astype(np.float32),
                ious=np.concatenate([np.ones(1), box_iou(moved, own)[:, 0], best[mine]]).astype(np.float32),
            )
        )
    return stored


def moved_box(annotation: Annotation, *, share: float, seed: int, image_size: tuple[int, int]) -> Boxes:
    """Move each side of an object's box by up to a share of the box's width or height.

    By which part of that share each side is moved follows from the seed and the annotation's id alone.

    Args:
        share: 0..0.5, so that the box keeps its centre.
        image_size: (height, width) in pixels; the box is cut where it leaves the image.

    Returns:
        float32 [4], x1, y1, x2, y2 in pixels.
    """
    x1, y1, x2, y2 = annotation.box_xyxy
    parts = np.random.default_rng([seed, annotation.id % 2**64, _JITTER]).uniform(-1, 1, 4)
    moved = np.array([x1, y1, x2, y2]) + share * parts * np.array([x2 - x1, y2 - y1] * 2)
    height, width = image_size
    inside: Boxes = moved.clip(0, [width, height] * 2).astype(np.float32)
    return inside


def box_iou(first_xyxy: NDArray[Any], second_xyxy: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of each box with each: float64 [P, G]; 0 where neither has an area."""
    first, second = first_xyxy.astype(np.float64)[:, None], second_xyxy.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    intersection = np.clip(sides, 0, None).prod(axis=-1)
    union = _area(first) + _area(second) - intersection
    ious: NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)
    return ious


def flip_annotation(annotation: Annotation, width: int) -> Annotation:
    """Mirror an object in an image ``width`` pixels wide."""
    x1, y1, x2, y2 = annotation.box_xyxy
    return dataclasses.replace(
        annotation,
        box_xyxy=(width - x2, y1, width - x1, y2),
        segmentation=flip_segmentation(annotation.segmentation, width),
    )


def _area(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.clip(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0, None).prod(axis=-1)
    return area
