"""What a data set holds, before anything is trained on it: per category boxes, masks and verdict, and each problem."""

from __future__ import annotations

from collections import Counter

from maskx_pipeline.data.category_sets import count_masks, count_teacher_masks, masked_labels
from maskx_pipeline.data.images import image_fault
from maskx_pipeline.data.records import CocoData, Problem
from maskx_pipeline.doctor.findings import find_fatal, find_notes, is_suspect
from maskx_pipeline.doctor.rectangles import count_rectangles
from maskx_pipeline.doctor.report import CategoryReport, DatasetReport
from maskx_pipeline.engine.progress import Progress

__all__ = ["TINY", "CategoryReport", "DatasetReport", "check_dataset"]

TINY = 16.0 * 16.0
"""Square pixels of a box in the image as it is; a mask of fewer has hardly a shape."""


def check_dataset(train: CocoData, val: CocoData, *, masks: tuple[CocoData, CocoData] | None = None) -> DatasetReport:
    """Look at a data set; reads every mask and the header of every image, but no pixels.

    Args:
        val: The validation data, read with the categories of training.
        masks: The training and validation data whose masks are used, if they are others, read with the same categories.

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
    train_data, val_data = ([train], [val]) if masks is None else ([train, mask_train], [val, mask_val])
    train_faults = [fault for data in train_data for fault in _unreadable_images(data)]
    val_faults = [fault for data in val_data for fault in _unreadable_images(data)]
    return DatasetReport(
        categories=tuple(rows),
        train_images=len(train.images),
        val_images=len(val.images),
        train_problems=(*(problem for data in train_data for problem in data.problems), *train_faults),
        val_problems=(*(problem for data in val_data for problem in data.problems), *val_faults),
        fatal=find_fatal(rows, [*train_faults, *val_faults]),
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


def _unreadable_images(data: CocoData) -> list[Problem]:
    problems = []
    with Progress(len(data.images), f"checking {data.image_dir.name}", "images") as bar:
        for image in data.images:
            fault = image_fault(data.image_path(image.id), width=image.width, height=image.height)
            if fault is not None:
                message = f"image {image.id}: {fault}"
                problems.append(Problem("unusable image", message, "training would stop", None, image.id))
            bar.update()
    return problems
