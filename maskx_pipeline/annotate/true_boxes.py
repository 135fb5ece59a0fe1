"""Hidden masks beside what a person would take instead: the filled box, and the ellipse in it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from maskx_pipeline.annotate.reliability import MaskScore
from maskx_pipeline.data.records import Annotation, CocoData
from maskx_pipeline.evaluation.box_figures import BoxFigures, figures_of_sets
from maskx_pipeline.evaluation.box_iou import MODEL, BoxIou
from maskx_pipeline.evaluation.box_masks import measure_box_iou, shapes_in_boxes


def figures_at_boxes(
    data: CocoData,
    annotations: Sequence[Annotation],
    scores: Sequence[MaskScore],
    *,
    seen: Collection[int],
    teacher: str = "",
) -> BoxFigures:
    """Means with their intervals, on all, seen and unseen categories and on each.

    Args:
        annotations: Whose masks were hidden.
        scores: One for each of them.
        seen: Labels of ``data`` whose masks the model was trained on.
        teacher: The name of the teacher whose IoU the scores hold too.
    """
    ious: dict[str, list[float]] = {MODEL: [score.iou for score in scores]}
    if teacher:
        ious[teacher] = [math.nan if score.teacher_iou is None else score.teacher_iou for score in scores]
    for name, of_objects in measure_box_iou(data, shapes_in_boxes(data, masked=True)).by_object().items():
        ious[name] = [of_objects[annotation.id] for annotation in annotations]
    box_iou = BoxIou(
        annotation_ids=np.array([annotation.id for annotation in annotations], dtype=np.int64),
        image_ids=np.array([annotation.image_id for annotation in annotations], dtype=np.int64),
        labels=np.array([annotation.label for annotation in annotations], dtype=np.int64),
        ious={name: np.array(values, dtype=np.float64) for name, values in ious.items()},
    )
    labels = {annotation.label for annotation in annotations}
    return figures_of_sets(
        box_iou, split="all", labels=labels, seen=seen, categories=data.categories, data=data.path.name
    )
