"""From boxes to masks: filling an annotation file, and measuring how well that works."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskx_pipeline.annotate.best_of import choices_text, confidences
from maskx_pipeline.annotate.fill_file import Annotated, Second, annotate
from maskx_pipeline.annotate.fill_journal import fill_journal
from maskx_pipeline.annotate.mask_gaps import find_mask_gaps
from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.annotate.rejected import SOURCE
from maskx_pipeline.annotate.review_folder import check_review, write_review
from maskx_pipeline.annotate.review_items import review_items
from maskx_pipeline.annotate.worklist import worklist_path, write_worklist
from maskx_pipeline.config import DEFAULT_TEACHERS, AnnotateConfig, DataConfig, TeacherSettings
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import by_main
from maskx_pipeline.evaluation.expectation import expectation_of
from maskx_pipeline.model_run import ModelRun
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.files import partial_path, remove_file
from maskx_pipeline.provenance.journal import Journal, is_unfinished
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import finished_note, noted_path, report_path
from maskx_pipeline.stages.annotate_inputs import (
    check_numbers,
    open_inputs,
    refuse_inputs,
    refuse_spread,
    teacher_identity,
    teacher_of,
)
from maskx_pipeline.stages.annotate_quality import chosen_confidence, measure, measured_by, quality_to_come
from maskx_pipeline.stages.inputs import NOTHING

logger = logging.getLogger("maskx")


def annotate_boxes(
    config: AnnotateConfig,
    data: DataConfig,
    dataset: Path,
    *,
    classes: DetectorClasses = NO_CLASSES,
    teachers: TeacherSettings = DEFAULT_TEACHERS,
    accepted: Mapping[str, str] = NOTHING,
    overwrite: bool = False,
) -> Annotated:
    """Fill the missing masks of an annotation file, and write it to ``config.out`` with each other byte as it was.

    A filled annotation gets segmentation, area, mask_confidence (0..1, the IoU with the true mask that the model
    expects) and mask_source. Interrupted, it goes on where it stopped; images that cannot be read are tried again by
    the next call. With ``config.review`` a page about the masks follows. Several processes share the images; the main
    one writes.

    Args:
        data: Where the images are, if ``dataset`` is train- or val-annotations; val is what confidence is judged by,
            and with ``config.best_of`` what model and teacher are measured on.
        accepted: By kind of finding, why it is right as it is.

    Raises:
        CheckFailedError: With the file is what `maskx doctor` calls an error, and filling would spread it.
        ConfigError: ``config.out`` is the data set itself, or two settings contradict each other.
        OutputError: It holds something else.
        DataError: No image can be read, or no confidence gives masks of the wanted IoU.
    """
    check_numbers(config)
    refuse_inputs(config.out, data, dataset)
    review = config.review
    if review is not None:
        distributed.on_main(lambda: check_review(review))
    with by_main(locked(config.out)):
        return _annotate_boxes(config, data, dataset, classes, teachers, accepted, overwrite)


def _annotate_boxes(
    config: AnnotateConfig,
    data: DataConfig,
    dataset: Path,
    classes: DetectorClasses,
    teachers: TeacherSettings,
    accepted: Mapping[str, str],
    overwrite: bool,
) -> Annotated:
    """See :func:`annotate_boxes`."""
    model, read, labels = open_inputs(config, data, dataset, classes)
    teacher = teacher_of(config, teachers)
    seen_names = {c.name for c in read.categories if labels.get(c.label) in model.seen}
    measured = measured_by(config, data, read, model)
    made_from = {
        "annotation file": read.digest,
        "model": model.sha256,
        "detector": model.detector_identity,
        **({"measured on": measured.digest} if measured is not None and config.wanted_iou else {}),
        **config.identity(),
        **teacher_identity(config, teacher, measured),
    }
    report = report_path(config.out)

    def finished() -> dict[str, Any] | None:
        note = finished_note(report, config.out, made_from, overwrite=overwrite)
        unfinished = note is None or note["counts"]["unreadable"] or is_unfinished(config.out, made_from)
        return None if unfinished else note

    note = distributed.on_main(finished)
    if note is not None:
        logger.info("%s is finished and unchanged.", config.out)
        quality = None if config.review is None else quality_to_come(config, measured, model, teacher)[0]
    else:
        # The other processes get a copy that says what is done, and write none.
        journal = distributed.on_main(lambda: Journal(partial_path(config.out), made_from, overwrite=overwrite))
        distributed.on_main(lambda: refuse_spread(read, accepted))
        gaps = find_mask_gaps(read, labels=labels)
        if gaps.had_bom:
            logger.info("%s begins with a byte order mark, which is left out: pycocotools refuses it.", dataset)
        quality, choices = quality_to_come(config, measured, model, teacher)
        if teacher is not None and config.best_of:
            logger.info("%s.", choices_text(choices, teacher.name))
        least = chosen_confidence(config, quality)
        second = None
        if teacher is not None:
            second = Second(teacher.name, teacher.source, teacher.opinion, confidences(choices))
        distributed.on_main(journal.begin)
        unreadable = fill_journal(
            model.whole_model(config.device),
            read,
            gaps,
            journal=journal,
            labels=labels,
            mask_format=config.mask_format,
            speck_share=config.speck_share,
            opinion=None if second is None else second.opinion,
            by_teacher={} if second is None else second.by_teacher,
        )

    def write() -> tuple[Annotated, dict[int, float]]:
        content: dict[str, Any] = {}
        with noted_path(config.out, report, made_from, content) as temporary:
            annotated, without = annotate(
                read,
                gaps,
                unreadable,
                out=config.out,
                write_to=temporary,
                journal=journal,
                labels=labels,
                seen=model.seen,
                min_confidence=config.min_confidence if least is None else least.min_confidence,
                source=f"{SOURCE}{model.folder.resolve().name}#{model.sha256[:12]}",
                second=second,
            )
            annotated = dataclasses.replace(annotated, wanted=least)
            content |= {
                "counts": annotated.to_json(),
                "without": without,
                "reliability": None if quality is None else quality.to_json()["reliability"],
                **({"best of": [asdict(choice) for choice in choices.values()]} if choices else {}),
            }
        if second is not None:
            written = read_coco(config.out, read.image_dir, keep_missing=True, teacher_masks=True)
            unusable = {image.file_name for image in annotated.unreadable}
            items = review_items(written, without=without, unreadable=unusable, seen_names=seen_names)
            write_worklist(worklist_path(config.out), items)
        if not annotated.unreadable:
            remove_file(partial_path(config.out))  # last: while it is there, the next start goes on here
        return annotated, without

    def end() -> Annotated:
        if note is None:
            annotated, without = write()
        else:
            annotated = Annotated.from_json(note["counts"])
            without = {int(number): confidence for number, confidence in note["without"].items()}
        _warn_of_nothing(annotated)
        if config.review is not None:
            write_review(
                config.review,
                config.out,
                read.image_dir,
                without=without,
                unreadable={image.file_name for image in annotated.unreadable},
                seen_names=seen_names,
                quality=quality,
                limit=config.review_limit,
                overwrite=overwrite,
            )
        _say_what_to_expect(model, config)
        return annotated

    return distributed.on_main(end)


def _warn_of_nothing(annotated: Annotated) -> None:
    """Say so where the model was asked for masks and none of them was taken."""
    if annotated.filled:
        return
    if annotated.uncertain:
        logger.warning("No mask was filled in: give a lower --min-confidence, or another model with --model.")
    elif annotated.empty:
        logger.warning(
            "No mask was filled in: the model finds no pixel of the object in any of %d boxes. Train it longer, or "
            "give another with --model. --evaluate says how good its masks are.",
            annotated.empty,
        )


def _say_what_to_expect(model: ModelRun, config: AnnotateConfig) -> None:
    expected = expectation_of(model.expected)
    if expected is not None:
        logger.info("%s", expected.to_text())


def evaluate_annotation(
    config: AnnotateConfig,
    data: DataConfig,
    dataset: Path,
    *,
    classes: DetectorClasses = NO_CLASSES,
    teachers: TeacherSettings = DEFAULT_TEACHERS,
) -> AnnotationQuality:
    """Hide the masks that an annotation file has, predict them from their boxes, and compare. Nothing is written.

    The filled box and the ellipse in the box stand beside them; with ``config.second_opinion`` or ``config.best_of``
    the teacher's masks too.
    """
    distributed.start()
    model, read, labels = open_inputs(config, data, dataset, classes)
    quality = measure(config, model, read, labels, teacher_of(config, teachers), beside_shapes=True)
    return dataclasses.replace(quality, expected=expectation_of(model.expected))
