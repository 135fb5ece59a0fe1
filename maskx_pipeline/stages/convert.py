"""`maskx convert`: other formats in COCO format, and training masks by a teacher."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskx_pipeline.config import DEFAULT_TEACHERS, ConvertTeacherConfig, DataConfig, TeacherSettings
from maskx_pipeline.config.formats import Format
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.findings import log_findings, reading_findings
from maskx_pipeline.settings import StageConfig
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


def read_report(form: Format, folder: Path) -> dict[str, Any]:
    """What a conversion counted, for ``--json``."""
    reader: Callable[[Path], dict[str, Any]] = pkgutil.resolve_name(f"{form.module}:read_report")
    return reader(folder)


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
