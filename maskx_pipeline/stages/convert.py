"""`maskx convert`: other formats in COCO format, and training masks by a teacher."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskx_pipeline.config import DEFAULT_TEACHERS, ConvertTeacherConfig, DataConfig, TeacherSettings
from maskx_pipeline.config.formats import Format, Source
from maskx_pipeline.config.tools import ConvertToConfig, Tool
from maskx_pipeline.convert import hand_over, report
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.findings import log_findings, reading_findings
from maskx_pipeline.engine import distributed
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.settings import StageConfig
from maskx_pipeline.stages.inputs import image_folder_of
from maskx_pipeline.teachers.annotations import write_teacher_annotations
from maskx_pipeline.teachers.construction import ask_teacher


def convert(form: Format, config: StageConfig, *, overwrite: bool = False) -> Path:
    """Write COCO-format annotations of a data set in another format.

    Args:
        form: One of :data:`maskx_pipeline.config.formats.FORMATS`.

    Returns:
        The folder that was written.
    """
    converter: Callable[..., Path] = pkgutil.resolve_name(f"{form.module}:convert")
    return converter(config, overwrite=overwrite)


def convert_from(form: Source, source: Path, config: StageConfig, *, overwrite: bool = False) -> Path:
    """Write COCO-format annotations of a data set in another format; the folder that was written."""
    converter: Callable[..., Path] = pkgutil.resolve_name(f"{form.module}:convert")
    return converter(source, config, overwrite=overwrite)


def convert_to(
    tool: Tool,
    file: Path,
    config: ConvertToConfig,
    data: DataConfig | None,
    *,
    overwrite: bool = False,
    renew: bool = False,
) -> Path:
    """Write annotations as another tool takes them.

    Args:
        data: Whose image folder is taken where ``config`` names none.
        renew: Replace what was made of an earlier state of the file.

    Returns:
        The folder, ``config.out``, else ``FILE-for-TOOL`` beside the file.
    """
    images = config.images or image_folder_of(file, data)
    splits = [(config.split, file, images)]
    if config.val is not None:
        splits.append(("val", config.val, config.val_images or config.images or image_folder_of(config.val, data)))
        if config.split == "val":
            raise ConfigError("--split val and --val are two splits of one name.", "give another --split")
    out = config.out or file.with_name(f"{file.stem}-for-{tool.name}")
    return hand_over.hand_over(tool, splits, out, copy=config.copy_images, overwrite=overwrite, renew=renew)


def convert_report(folder: Path) -> dict[str, Any]:
    """What `convert`, `convert_from` or `convert_to` counted, for ``--json``."""
    return report.read_report(folder)


def convert_teacher(
    teacher: str,
    config: ConvertTeacherConfig,
    data: DataConfig,
    *,
    teachers: TeacherSettings = DEFAULT_TEACHERS,
    overwrite: bool = False,
) -> Path:
    """Write the training annotations with a teacher's mask for each box that has none, or for all of them.

    Returns:
        The annotation file ``config.out``, to be used as train-annotations of [data].
    """
    distributed.start()
    train = read_coco(data.train_annotations, data.train_images, crowds_are_objects=data.crowds_are_objects)
    log_findings(reading_findings(train, "train"), str(train.path))
    keep: frozenset[int] = frozenset()
    if config.keep != "none":
        keep = resolve_category_set(config.keep, train.categories, masked=masked_labels(train), seen=None)
    asked = ask_teacher(teacher, teachers, device=config.device)
    return write_teacher_annotations(
        asked.teacher,
        train,
        out=config.out,
        keep=keep,
        source=asked.source,
        workers=asked.workers,
        overwrite=overwrite,
    )
