"""From boxes to masks: filling an annotation file, and measuring how well that works."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from maskx_pipeline.annotate.best_of import Choice, choices_text, choose_best, confidences
from maskx_pipeline.annotate.fill_file import Annotated, Second, annotate
from maskx_pipeline.annotate.mask_gaps import find_mask_gaps, labels_by_name
from maskx_pipeline.annotate.quality import AnnotationQuality, measure_annotation
from maskx_pipeline.config import DEFAULT_TEACHERS, AnnotateConfig, DataConfig, TeacherSettings
from maskx_pipeline.data.coco import CocoData, log_problems, read_coco
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.evaluation.expectation import read_expectation
from maskx_pipeline.model_run import ModelRun, open_model
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.journal import Journal, journal_path
from maskx_pipeline.provenance.made_from import finished_note, report_path, write_note
from maskx_pipeline.teachers.construction import AskedTeacher, ask_teacher

logger = logging.getLogger("maskx")


def annotate_boxes(
    config: AnnotateConfig,
    data: DataConfig,
    dataset: Path,
    *,
    classes: DetectorClasses = NO_CLASSES,
    teachers: TeacherSettings = DEFAULT_TEACHERS,
    overwrite: bool = False,
) -> Annotated:
    """Fill the missing masks of an annotation file, and write it to ``config.out`` with each other byte as it was.

    A filled annotation gets segmentation, area, mask_confidence (0..1, the IoU with the true mask that the model
    expects) and mask_source. Interrupted, it goes on where it stopped; images that cannot be read are tried again by
    the next call.

    Args:
        data: Where the images are, if ``dataset`` is train- or val-annotations. With ``config.best_of`` its val is what
            model and teacher are measured on.

    Raises:
        ConfigError: ``config.out`` is the data set itself.
        OutputError: It holds something else.
        DataError: No image can be read.
    """
    if not config.min_confidence <= 1:
        raise ConfigError(f"--min-confidence {config.min_confidence:g} is above 1.", "give a number from 0 to 1")
    _refuse_inputs(config.out, data, dataset)
    model, read, labels = _prepare(config, data, dataset, classes)
    teacher = _teacher(config, teachers)
    made_from = {
        "annotation file": read.digest,
        "model": model.sha256,
        "detector": model.detector_identity,
        **config.identity(),
        **_teacher_identity(config, data, teacher),
    }
    report = report_path(config.out)
    note = finished_note(report, config.out, made_from, overwrite=overwrite)
    if note is not None and not note["counts"]["unreadable"]:
        logger.info("%s is finished and unchanged.", config.out)
        annotated = Annotated.from_json(note["counts"])
        _warn_of_nothing(annotated)
        _say_what_to_expect(model, config)
        return annotated
    journal = Journal(journal_path(config.out), made_from, overwrite=overwrite)
    log_problems(read)
    gaps = find_mask_gaps(read, labels=labels)
    if gaps.had_bom:
        logger.info("%s begins with a byte order mark, which is left out: pycocotools refuses it.", dataset)
    choices: dict[int, Choice] = {}
    if teacher is not None and config.best_of:
        choices = _choices(config, data, model, teacher)
        logger.info("%s.", choices_text(choices, teacher.name))
    second = None if teacher is None else Second(teacher.name, teacher.source, teacher.opinion, confidences(choices))
    annotated = annotate(
        model.whole_model(config.device),
        read,
        gaps,
        out=config.out,
        journal=journal,
        labels=labels,
        seen=model.seen,
        mask_format=config.mask_format,
        min_confidence=config.min_confidence,
        source=f"maskx:{model.folder.resolve().name}#{model.sha256[:12]}",
        second=second,
    )
    best_of = {"best of": [asdict(choice) for choice in choices.values()]} if choices else {}
    write_note(report, config.out, made_from, {"counts": annotated.to_json(), **best_of})
    if not annotated.unreadable:
        journal_path(config.out).unlink()
    _warn_of_nothing(annotated)
    _say_what_to_expect(model, config)
    return annotated


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
    expected = read_expectation(model.folder, config.checkpoint)
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

    With ``config.second_opinion`` or ``config.best_of`` the teacher's masks are compared with the true ones too.
    """
    model, read, labels = _prepare(config, data, dataset, classes)
    return _measure(config, model, read, labels, _teacher(config, teachers))


def _measure(
    config: AnnotateConfig, model: ModelRun, read: CocoData, labels: Mapping[int, int], teacher: AskedTeacher | None
) -> AnnotationQuality:
    quality = measure_annotation(
        model.whole_model(config.device),
        read,
        labels=labels,
        seen=model.seen,
        mask_format=config.mask_format,
        folder=str(model.folder),
        opinion=None if teacher is None else teacher.opinion,
        teacher="" if teacher is None else teacher.name,
    )
    return dataclasses.replace(quality, expected=read_expectation(model.folder, config.checkpoint))


def _teacher(config: AnnotateConfig, teachers: TeacherSettings) -> AskedTeacher | None:
    if config.best_of and config.second_opinion not in ("", config.best_of):
        raise ConfigError(
            f"--best-of {config.best_of} and --second-opinion {config.second_opinion} are two teachers.",
            "give one of the two options: --best-of compares as well",
        )
    name = config.best_of or config.second_opinion
    if not name:
        return None
    option = "--best-of" if config.best_of else "--second-opinion"
    return ask_teacher(name, teachers, device=config.device, option=option)


def _teacher_identity(config: AnnotateConfig, data: DataConfig, teacher: AskedTeacher | None) -> dict[str, str]:
    """What a teacher's part in the result is made from."""
    if teacher is None:
        return {}
    if not config.best_of:
        return {"second opinion": teacher.teacher.identity}
    return {"best of": teacher.teacher.identity, "val annotations": _read_val(data).digest}


def _choices(config: AnnotateConfig, data: DataConfig, model: ModelRun, teacher: AskedTeacher) -> dict[int, Choice]:
    """Measure model and teacher on the masks of val, and decide for each category."""
    val = _read_val(data)
    quality = _measure(config, model, val, labels_by_name(val.categories, model.categories), teacher)
    return choose_best(quality, model.categories, seen=model.seen)


def _read_val(data: DataConfig) -> CocoData:
    return read_coco(data.val_annotations, data.val_images, check_files=False)


def _prepare(
    config: AnnotateConfig, data: DataConfig, dataset: Path, classes: DetectorClasses
) -> tuple[ModelRun, CocoData, Mapping[int, int]]:
    model = open_model(
        config.model, runs=config.runs, checkpoint=config.checkpoint, detector=config.detector, classes=classes
    )
    # Missing images are found as corrupt ones are, when they are read; then both are named and tried again.
    read = read_coco(dataset, _images_of(config, data, dataset), check_files=False)
    if not read.image_dir.is_dir():
        raise DataError(f"the image folder {read.image_dir} does not exist.", "give it with --images")
    labels = labels_by_name(read.categories, model.categories)
    unknown = [category.name for category in read.categories if category.label not in labels]
    if len(unknown) == len(read.categories):
        raise DataError(
            f"{dataset} has no category of the model {model.folder}, which knows "
            f"{', '.join(f'`{category.name}`' for category in model.categories[:5])} and so on.",
            "give another --model, or rename the categories as the model knows them",
        )
    if unknown:
        logger.warning("The model does not know: %s. They are left alone.", ", ".join(f"`{n}`" for n in unknown))
    return model, read, labels


def _images_of(config: AnnotateConfig, data: DataConfig, dataset: Path) -> Path:
    if config.images is not None:
        return config.images
    for path, images in ((data.train_annotations, data.train_images), (data.val_annotations, data.val_images)):
        if path.resolve() == dataset.resolve():
            return images
    raise ConfigError(
        f"{dataset} is neither train-annotations nor val-annotations of [data], so its image folder is not known.",
        "give the folder with --images",
    )


def _refuse_inputs(out: Path, data: DataConfig, dataset: Path) -> None:
    """No input may be overwritten, not even with --overwrite."""
    written = {path.resolve() for path in (out, report_path(out), journal_path(out))}
    for path in (dataset, data.train_annotations, data.val_annotations):
        if path.resolve() in written:
            raise ConfigError(f"{path} would be overwritten by --out {out}.", "give another file with --out")
