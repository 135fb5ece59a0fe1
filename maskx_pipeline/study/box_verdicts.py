"""Who has the best masks at the true boxes, among runs and the shapes in the box, and whether by more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.evaluation.box_figures import bounds_text
from maskx_pipeline.evaluation.box_iou import MODEL, SHAPES, BoxIou
from maskx_pipeline.study.compared_run import ComparedRun


def verdicts_of_runs(runs: Sequence[ComparedRun]) -> list[str]:
    """A sentence on unseen and one on seen categories; none where the runs were not measured on the same objects."""
    together = _together(runs)
    if together is None:
        return []
    box_iou, seen = together
    sentences = (_sentence(box_iou, kind, chosen) for kind, chosen in (("Unseen", ~seen), ("Seen", seen)))
    return [sentence for sentence in sentences if sentence]


def _together(runs: Sequence[ComparedRun]) -> tuple[BoxIou, NDArray[np.bool_]] | None:
    """The IoU of all runs on the same objects, and which of these are of seen categories."""
    first = runs[0].box_iou if runs else None
    if first is None:
        return None
    ious: dict[str, NDArray[np.float64]] = {}
    for run in runs:
        same = run.box_iou is not None and np.array_equal(run.box_iou.annotation_ids, first.annotation_ids)
        if run.box_iou is None or not same or run.trained != runs[0].trained or run.run in ious:
            return None
        ious[run.run] = run.box_iou.ious[MODEL]
    ious |= {source: values for source, values in first.ious.items() if source != MODEL}
    labels = [label for label, id_ in enumerate(sorted(runs[0].known), start=1) if id_ in runs[0].trained]
    box_iou = BoxIou(first.annotation_ids, first.image_ids, first.labels, ious)
    return box_iou, box_iou.of_labels(frozenset(labels))


def _sentence(box_iou: BoxIou, kind: str, chosen: NDArray[np.bool_]) -> str:
    """On the best of all and the next; where the best is a shape in the box, on it and the best run."""
    found = {source: box_iou.mean(source, chosen).mean for source in box_iou.ious}
    means = {source: mean for source, mean in found.items() if not math.isnan(mean)}
    best = max(means, key=means.__getitem__, default="")
    others = [source for source in means if source != best and (best not in SHAPES or source not in SHAPES)]
    if not others:
        return ""
    second = max(others, key=means.__getitem__)
    gap = box_iou.difference(best, second, chosen)
    values = f"{means[best]:.1f} and {means[second]:.1f} IoU{bounds_text(gap)}"
    if gap.is_certain:
        return f"{kind} categories: {best} is ahead of {second} by more than chance, {values}."
    return f"{kind} categories: {best} and {second} are level within chance, {values}."
