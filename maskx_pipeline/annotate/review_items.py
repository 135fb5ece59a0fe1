"""What a person is to look at after annotating: the masks of maskx, least certain first, and the boxes left without."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskx_pipeline.annotate.rejected import is_filled
from maskx_pipeline.data.masks import TEACHER, is_from_teacher, segmentation_to_rle
from maskx_pipeline.data.records import Annotation, CocoData, ImageRecord

DISAGREEMENT = 0.5
"""Agreement: below it model and teacher mean different pixels."""

_NEAR = 1.5  # pixels, or the share below of the side of the box if that is more
_NEAR_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A mask to look at, or a box without one; the mask itself stays in the file.

    Attributes:
        row: Of the table of the annotation file.
        seen: Whether the masks of the category were trained on.
        filled: Whether there is a mask.
        confidence: Of the mask, 0..1; None where no mask was predicted.
        reason: Why it is worth a look; may be empty.
        agreement: IoU with the second opinion, 0..1; None where there is none.
        made_by: ``model``, or the name of the teacher whose mask it is; empty where there is no mask.
    """

    row: int
    annotation_id: int
    image: ImageRecord
    category: str
    seen: bool
    filled: bool
    confidence: float | None
    reason: str
    agreement: float | None = None
    made_by: str = ""


def review_items(
    annotated: CocoData, *, without: Mapping[int, float], unreadable: Collection[str], seen_names: Collection[str]
) -> list[ReviewItem]:
    """The masks of maskx in an annotation file and the boxes that it could not fill, least certain first.

    Args:
        annotated: The file that was written.
        without: By annotation id, the confidence of masks that were left out; 0 where the box is empty.
        unreadable: File names of images that could not be read.
        seen_names: Categories whose masks were trained on.
    """
    table = annotated.annotations()
    _, first, times = np.unique(table.ids, return_index=True, return_counts=True)
    rows = np.sort(first[times == 1])
    items = []
    for row in rows[~table.iscrowd[rows]].tolist():
        number, filled = int(table.ids[row]), bool(table.has_mask[row])
        entry = table.entries[row] if filled else {}
        if filled and not is_filled(entry):
            continue
        image = annotated.image(int(table.image_ids[row]))
        category = annotated.category(int(table.labels[row])).name
        seen = category in seen_names
        confidence, agreement, made_by = without.get(number), None, ""
        if filled:
            agreement, confidence = _share(entry, "mask_agreement"), _share(entry, "mask_confidence") or 0.0
            reason = _reason(table[row], image, seen, agreement)
            made_by = _made_by(entry["mask_source"])
        elif confidence is None:
            reason = f"no mask: {'image cannot be read' if image.file_name in unreadable else 'not filled'}"
        else:
            reason = "no mask: too uncertain" if confidence else "no mask: the model finds nothing in the box"
            confidence = confidence or None
        texts = (sys.intern(reason), agreement, sys.intern(made_by))  # few, of many masks
        items.append(ReviewItem(row, number, image, category, seen, filled, confidence, *texts))
    return sorted(items, key=lambda item: (item.filled, item.confidence or 0.0, item.annotation_id))


def _share(entry: Mapping[str, Any], key: str) -> float | None:
    """A number from 0 to 1; None where the file has none."""
    value = entry.get(key)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(max(float(value), 0.0), 1.0)


def _made_by(source: str) -> str:
    return "model" if not is_from_teacher(source) else source.removeprefix(TEACHER).partition("#")[0]


def _reason(annotation: Annotation, image: ImageRecord, seen: bool, agreement: float | None) -> str:
    touched = _sides_touched(annotation, image)
    parts = len(annotation.segmentation) if isinstance(annotation.segmentation, list) else 1
    disagree = agreement is not None and agreement < DISAGREEMENT
    reasons = [f"agreement {agreement:.2f} with the second opinion"] if disagree else []
    reasons += [] if touched == 4 else [f"touches {touched} of the 4 sides of its box"]
    reasons += [f"{parts} parts"] if parts > 1 else []
    reasons += [] if seen else ["category unseen"]
    return "; ".join(reasons)


def _sides_touched(annotation: Annotation, image: ImageRecord) -> int:
    if isinstance(annotation.segmentation, list):
        points = np.concatenate([np.reshape(np.asarray(p, dtype=float), (-1, 2)) for p in annotation.segmentation])
        low, high = points.min(axis=0), points.max(axis=0)
    else:
        rle = segmentation_to_rle(annotation.segmentation, image.height, image.width)
        x, y, width, height = coco_mask.toBbox(rle).tolist()
        low, high = np.array([x, y]), np.array([x + width, y + height])
    box = np.array(annotation.box_xyxy)
    near = np.maximum(_NEAR, _NEAR_SHARE * (box[2:] - box[:2]))
    return int((low - box[:2] <= near).sum() + (box[2:] - high <= near).sum())
