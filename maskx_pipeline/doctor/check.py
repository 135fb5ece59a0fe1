"""What a data set holds, before anything is trained on it: per category boxes, masks and verdict, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from maskx_pipeline.data.category_sets import count_masks, count_teacher_masks, masked_labels
from maskx_pipeline.data.findings import accept
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.doctor.findings import find_notes, find_verdicts, is_suspect
from maskx_pipeline.doctor.health import check_health
from maskx_pipeline.doctor.images import image_findings
from maskx_pipeline.doctor.rectangles import count_rectangles
from maskx_pipeline.doctor.report import CategoryReport, DatasetReport

__all__ = ["TINY", "CategoryReport", "DatasetReport", "check_dataset"]

TINY = 16.0 * 16.0
"""Square pixels of a box in the image as it is; a mask of fewer has hardly a shape."""

_NOTHING_ACCEPTED: Mapping[str, str] = {}


def check_dataset(
    train: CocoData,
    val: CocoData,
    *,
    masks: tuple[CocoData, CocoData] | None = None,
    accepted: Mapping[str, str] = _NOTHING_ACCEPTED,
    longest: int | None = None,
) -> DatasetReport:
    """Look at a data set; reads every mask, and the header and the end of every image.

    Args:
        val: The validation data, read with the categories of training.
        masks: The training and validation data whose masks are used, if they are others, read with the same categories.
        accepted: By kind of finding, why it is right as it is.
        longest: Pixels of the longer side of an image as the detector gets it; None if it is not known.

    Returns:
        The report; printing it and failing on it are left to the caller.
    """
    mask_train, mask_val = masks or (train, val)
    seen = masked_labels(mask_train)
    train_counts, val_counts = _counts(train, masks_of=mask_train), _counts(val, masks_of=mask_val)
    rows = []
    for category in train.categories:
        boxes, mask_count, rectangles, *_ = counts = train_counts[category.label]
        verdict = "seen" if category.label in seen else "unseen" if boxes else "no boxes"
        if is_suspect(mask_count, rectangles):
            verdict = "suspect"
        rows.append(
            CategoryReport(category.label, category.id, category.name, *counts, *val_counts[category.label], verdict)
        )
    parts = {"train": train, "val": val}
    if masks is not None:
        parts |= {"train masks": mask_train, "val masks": mask_val}
    found = [*check_health(parts, longest=longest), *image_findings(parts)]
    found += find_verdicts(rows, train=train, val=val, known={one.kind for one in found})
    return DatasetReport(
        categories=tuple(rows),
        train_images=len(train.images),
        val_images=len(val.images),
        findings=tuple(accept(found, accepted)),
        notes=find_notes(rows),
    )


def _counts(data: CocoData, *, masks_of: CocoData) -> dict[int, tuple[int, int, int, int, int, int]]:
    """(boxes, masks, masks that are their box, crowds, tiny boxes, masks by a teacher) of each label."""
    annotations = data.annotations()
    x1, y1, x2, y2 = annotations.boxes_xyxy.T
    is_tiny = (x2 - x1) * (y2 - y1) < TINY
    boxes = Counter(annotations.labels[~annotations.iscrowd].tolist())
    tiny = Counter(annotations.labels[~annotations.iscrowd & is_tiny].tolist())
    crowds = Counter(annotations.labels[annotations.iscrowd].tolist())
    masks, rectangles, taught = count_masks(masks_of), count_rectangles(masks_of), count_teacher_masks(masks_of)
    labels = [category.label for category in data.categories]
    return {n: (boxes[n], masks[n], rectangles[n], crowds[n], tiny[n], taught[n]) for n in labels}
