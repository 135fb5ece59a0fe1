"""How good masks from boxes are, measured on true ones: what `maskx annotate` chooses by before it fills a file."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

from maskx_pipeline.annotate.best_of import Choice, choose_best, scores_of_best
from maskx_pipeline.annotate.evidence import evidence_path, kept_quality
from maskx_pipeline.annotate.mask_gaps import labels_by_name
from maskx_pipeline.annotate.quality import AnnotationQuality, measure_annotation
from maskx_pipeline.annotate.reliability import LeastConfidence, least_confidence
from maskx_pipeline.config import AnnotateConfig, DataConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.errors import DataError
from maskx_pipeline.model_run import ModelRun
from maskx_pipeline.stages.annotate_inputs import measured_data, read_val
from maskx_pipeline.teachers.construction import AskedTeacher

logger = logging.getLogger("maskx")

_MOST_MEASURED = 2000
"""Masks by which a confidence is judged before a file is filled; --evaluate and --best-of measure all."""


def measure(
    config: AnnotateConfig,
    model: ModelRun,
    read: CocoData,
    labels: Mapping[int, int],
    teacher: AskedTeacher | None,
    *,
    most: int | None = None,
    beside_shapes: bool = False,
) -> AnnotationQuality:
    """Hide the masks that an annotation file has, predict them from their boxes, and compare; ``most`` of them."""
    return measure_annotation(
        model.whole_model(config.device),
        read,
        labels=labels,
        seen=model.seen,
        mask_format=config.mask_format,
        speck_share=config.speck_share,
        folder=str(model.folder),
        most=most,
        opinion=None if teacher is None else teacher.opinion,
        teacher="" if teacher is None else teacher.name,
        beside_shapes=beside_shapes,
    )


def measured_by(config: AnnotateConfig, data: DataConfig, read: CocoData, model: ModelRun) -> CocoData | None:
    """The masks by which the model is judged before it fills a file; None where nothing asks for that, or none is."""
    if config.best_of:
        return read_val(data)
    return measured_data(data, read, model) if config.wanted_iou or config.review is not None else None


def quality_to_come(
    config: AnnotateConfig, measured: CocoData | None, model: ModelRun, teacher: AskedTeacher | None
) -> tuple[AnnotationQuality | None, dict[int, Choice]]:
    """What true masks say about the masks to come, None where nothing was measured; and which are the teacher's."""
    if measured is None:
        return None, {}
    asked = teacher if config.best_of else None
    made_from = {
        "measured on": measured.digest,
        "model": model.sha256,
        "detector": model.detector_identity,
        "mask_format": config.mask_format,
        "speck_share": config.speck_share,
        **({} if asked is None else {"teacher": asked.teacher.identity}),
    }
    labels = labels_by_name(measured.categories, model.categories)
    most = _MOST_MEASURED if asked is None else None
    try:
        quality = kept_quality(
            evidence_path(config.out),
            made_from,
            lambda: measure(config, model, measured, labels, asked, most=most),
        )
    except DataError as error:
        if config.wanted_iou or config.best_of:
            raise
        logger.warning("The confidence of the masks is not measured: %s", error.message)
        return None, {}
    if asked is None:
        return quality, {}
    choices = choose_best(quality, model.categories, seen=model.seen)
    return dataclasses.replace(quality, scores=scores_of_best(quality.scores, choices)), choices


def chosen_confidence(config: AnnotateConfig, quality: AnnotationQuality | None) -> LeastConfidence | None:
    """The confidence that gives masks of the wanted IoU; None where none is wanted.

    Raises:
        DataError: Nothing was measured, or no confidence gives such masks.
    """
    if not config.wanted_iou:
        return None
    if quality is None:
        raise DataError(
            "no masks are there to measure by, so --wanted-iou cannot choose a confidence.",
            "give masks of some objects in val-annotations, or choose with --min-confidence",
        )
    return least_confidence(quality.scores, config.wanted_iou, measured_on=quality.dataset)
