"""What `maskx annotate` reads: the model, the file with boxes, and the masks by which it is judged."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from maskx_pipeline.annotate.evidence import evidence_path
from maskx_pipeline.annotate.known_masks import masks_of_known
from maskx_pipeline.annotate.mask_gaps import labels_by_name
from maskx_pipeline.annotate.worklist import worklist_path
from maskx_pipeline.config import AnnotateConfig, DataConfig, TeacherSettings
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.kinds import (
    CROWDED,
    MISFIT,
    NO_MASKS,
    REPEATED,
    REPEATED_PER_IMAGE,
    TWICE,
    UNKNOWN_CATEGORY,
)
from maskx_pipeline.doctor.health import refuse_unsound
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.model_run import ModelRun, open_model
from maskx_pipeline.project import DetectorClasses
from maskx_pipeline.provenance.files import partial_path
from maskx_pipeline.provenance.made_from import report_path
from maskx_pipeline.stages.inputs import image_folder_of
from maskx_pipeline.teachers.construction import AskedTeacher, ask_teacher

logger = logging.getLogger("maskx")

_HARMLESS = {
    CROWDED: "crowds are left as they are",
    MISFIT: "masks that exist are left as they are",
    NO_MASKS: "masks that exist are left as they are",
    REPEATED: "annotations that share an id are left as they are",
    REPEATED_PER_IMAGE: "annotations that share an id are left as they are",
    TWICE: "each is filled by itself",
    **dict.fromkeys(("zero-area box", "box outside the image", "broken box"), "they are left as they are"),
    **dict.fromkeys(("unknown image id", UNKNOWN_CATEGORY), "they are left as they are"),
}
"""What is wrong with a file and does not touch what is filled in."""


def open_inputs(
    config: AnnotateConfig, data: DataConfig, dataset: Path, classes: DetectorClasses
) -> tuple[ModelRun, CocoData, Mapping[int, int]]:
    """Open the model and read the data set; the third is the model's label of each label of the data that it knows."""
    model = open_model(
        config.model, runs=config.runs, checkpoint=config.checkpoint, detector=config.detector, classes=classes
    )
    # Missing images are found as corrupt ones are, when they are read; then both are named and tried again.
    images = config.images or image_folder_of(dataset, data)
    if not images.is_dir():
        raise DataError(f"the image folder {images} does not exist.", "give it with --images")
    read = read_coco(dataset, images, keep_missing=True)
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


def refuse_spread(read: CocoData, accepted: Mapping[str, str]) -> None:
    """Say what is wrong with a file, and refuse what filling would spread.

    Args:
        accepted: By kind of finding, why it is right as it is.

    Raises:
        CheckFailedError: There is such an error that is not accepted.
    """
    refuse_unsound({"": read}, accepted={**_HARMLESS, **accepted})


def read_val(data: DataConfig) -> CocoData:
    """Val of [data]; images that are missing are no error before they are read."""
    return read_coco(
        data.val_annotations,
        data.val_images,
        check_files=data.val_images.is_dir(),
        keep_missing=True,
        crowds_are_objects=data.crowds_are_objects,
    )


def measured_data(data: DataConfig, read: CocoData, model: ModelRun) -> CocoData | None:
    """The masks by which a confidence is judged: of val, else of the data set itself; None where none has any."""
    found = [read]
    if data.val_annotations.is_file() and data.val_annotations.resolve() != read.path.resolve():
        found.insert(0, read_val(data))
    for one in found:
        if one.image_dir.is_dir() and masks_of_known(one, labels_by_name(one.categories, model.categories)):
            return one
    return None


def check_numbers(config: AnnotateConfig) -> None:
    """Refuse confidences that contradict each other."""
    if config.min_confidence and config.wanted_iou:
        raise ConfigError("--wanted-iou chooses --min-confidence, so that both cannot be given.", "give one of them")


def refuse_inputs(out: Path, data: DataConfig, dataset: Path) -> None:
    """No input may be overwritten, not even with --overwrite."""
    beside = (report_path(out), partial_path(out), evidence_path(out), worklist_path(out))
    written = {path.resolve() for path in (out, *beside)}
    for path in (dataset, data.train_annotations, data.val_annotations):
        if path.resolve() in written:
            raise ConfigError(f"{path} would be overwritten by --out {out}.", "give another file with --out")


def teacher_of(config: AnnotateConfig, teachers: TeacherSettings) -> AskedTeacher | None:
    """Who is asked beside the model, if anybody is.

    Raises:
        ConfigError: The settings name two.
    """
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


def teacher_identity(config: AnnotateConfig, teacher: AskedTeacher | None, measured: CocoData | None) -> dict[str, str]:
    """What a teacher's part in the result is made from."""
    if teacher is None:
        return {}
    if not config.best_of or measured is None:
        return {"second opinion": teacher.teacher.identity}
    return {"best of": teacher.teacher.identity, "val annotations": measured.digest}
