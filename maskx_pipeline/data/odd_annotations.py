"""Annotations with which something may be wrong: which they are, and what it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.annotation_columns import AnnotationColumns, Entry, number
from maskx_pipeline.data.annotation_table import look_up
from maskx_pipeline.data.kinds import BROKEN_MASK, EMPTY_MASK, REPEATED, UNKNOWN_CATEGORY
from maskx_pipeline.data.masks import mask_is_absent, segmentation_fault
from maskx_pipeline.data.records import ImageRecord, Problem

_SMALLEST_SIDE = 0.01
"""Pixels. A thinner box has no area left in float32, and Faster R-CNN refuses it."""

_ROUNDING = 1.0
"""Pixels. COCO's own tools round boxes to this; less than it outside the image is clipped without a word."""

_Box = tuple[float, float, float, float]


def plain_boxes(
    columns: AnnotationColumns, images: Mapping[int, ImageRecord]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Cut all boxes to their images at once, and tell those with which nothing is wrong.

    Returns:
        float64[4, N], xyxy in pixels, and bool[N]: whether there is nothing to say about the box. Of the others
        :class:`OddAnnotations` says what is wrong.
    """
    known = np.fromiter(images, np.int64, len(images))
    places = look_up(columns.numbers[1], known, np.arange(1, len(images) + 1, dtype=np.int32))
    right = np.array([0, *[image.width for image in images.values()]], dtype=np.float64)[places]
    bottom = np.array([0, *[image.height for image in images.values()]], dtype=np.float64)[places]
    x, y, width, height = columns.boxes_xywh
    with np.errstate(invalid="ignore", over="ignore"):
        far_x, far_y = x + width, y + height
        clipped = np.stack(
            [np.maximum(x, 0.0), np.maximum(y, 0.0), np.minimum(far_x, right), np.minimum(far_y, bottom)]
        )
        plain = (places > 0) & (np.minimum(width, height) >= _SMALLEST_SIDE)  # NaN compares as False everywhere
        plain &= np.minimum(clipped[2] - clipped[0], clipped[3] - clipped[1]) >= _SMALLEST_SIDE
        plain &= (np.minimum(x, y) >= -_ROUNDING) & (np.maximum(far_x - right, far_y - bottom) <= _ROUNDING)
    return clipped, plain


class UsablePart(NamedTuple):
    """What can be used of an odd annotation; ``area`` in square pixels."""

    box_xyxy: _Box
    area: float
    has_sound_mask: bool


@dataclass
class OddAnnotations:
    """Reads annotations one by one, and reports what is wrong with each.

    Attributes:
        images: By id, those that are used.
        labels: By category id.
        left_out: By category id, the names of the categories that the category map leaves out.
        names: By image id, the file names, also of images that are dropped.
        repeated: What annotation ids that occur again are called.
        unknown: What category ids are called that are not listed.
        problems: Where what is wrong is added.
    """

    images: Mapping[int, ImageRecord]
    dropped_images: Collection[int]
    labels: Mapping[int, int]
    left_out: Mapping[int, str]
    problems: list[Problem]
    names: Mapping[int, str] = field(default_factory=dict)
    repeated: str = REPEATED
    unknown: str = UNKNOWN_CATEGORY
    _kept: set[int] = field(default_factory=set)

    def read(self, entry: Entry, ids: tuple[int, int, int]) -> UsablePart | None:
        """What can be used of an annotation; None if it is dropped.

        Args:
            ids: Its id, image id and category id.
        """
        annotation_id, image_id, category_id = ids
        if annotation_id in self._kept:
            message = f"annotation id {annotation_id} again (image {image_id})"
            self._report(self.repeated, message, ids, "dropped, first one kept")
        elif image_id in self.dropped_images:
            message = f"annotation {annotation_id} of image {image_id}, which was dropped"
            self._report("annotation of a dropped image", message, ids)
        elif image_id not in self.images:
            self._report("unknown image id", f"annotation {annotation_id}: no image has id {image_id}", ids)
        elif category_id in self.left_out:
            message = f"annotation {annotation_id}: `{self.left_out[category_id]}` has no counterpart"
            self._report("category not in the category map", message, ids)
        elif category_id not in self.labels:
            self._report(self.unknown, f"annotation {annotation_id}: no category has id {category_id}", ids)
        elif (box := self._read_box(entry, ids)) is not None:
            self._kept.add(annotation_id)
            return UsablePart(box, _area(entry.get("area"), box), self._has_sound_mask(entry, ids))
        return None

    def _read_box(self, entry: Entry, ids: tuple[int, int, int]) -> _Box | None:
        """COCO's [x, y, width, height] as a box inside the image; None if there is none."""
        image = self.images[ids[1]]
        what = f"annotation {ids[0]}: bbox {entry['bbox']!r:.80}"
        numbers = [number(side) for side in entry["bbox"]]
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
            self._report("broken box", f"{what} is not four numbers", ids)
            return None
        x, y, box_width, box_height = numbers
        if min(box_width, box_height) < _SMALLEST_SIDE:
            self._report("zero-area box", f"{what} has no area", ids)
            return None
        box = (max(x, 0.0), max(y, 0.0), min(x + box_width, image.width), min(y + box_height, image.height))
        place = f"the image of {image.width}x{image.height} pixels"
        if min(box[2] - box[0], box[3] - box[1]) < _SMALLEST_SIDE:
            self._report("box outside the image", f"{what} is outside {place}", ids)
            return None
        if max(-x, -y, x + box_width - image.width, y + box_height - image.height) > _ROUNDING:
            self._report("box partly outside the image", f"{what} is partly outside {place}", ids, "clipped")
        return box

    def _has_sound_mask(self, entry: Entry, ids: tuple[int, int, int]) -> bool:
        image = self.images[ids[1]]
        fault = segmentation_fault(entry.get("segmentation"), height=image.height, width=image.width)
        if fault is not None:
            message = f"annotation {ids[0]}: {fault}"
            kind = BROKEN_MASK if not mask_is_absent(entry.get("segmentation")) else EMPTY_MASK
            self._report(kind, message, ids, "mask treated as absent, box kept")
        return fault is None

    def _report(self, kind: str, message: str, ids: tuple[int, int, int], action: str = "dropped") -> None:
        self.problems.append(Problem(kind, message, action, *ids[:2], self.names.get(ids[1], "")))


def _area(value: object, box_xyxy: _Box) -> float:
    """The annotation's area in square pixels (of the mask, in COCO); that of the box where it is missing."""
    area = number(value)
    x1, y1, x2, y2 = box_xyxy
    return area if math.isfinite(area) and area >= 0 else (x2 - x1) * (y2 - y1)
