"""`maskx convert`: other formats in COCO format, and training masks by GrabCut (paper, section 4.3 and Table 2)."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskx_pipeline.config import DataConfig, GrabCutConfig
from maskx_pipeline.config.formats import Format
from maskx_pipeline.data.coco import log_problems, read_coco
from maskx_pipeline.settings import StageConfig
from maskx_pipeline.teachers.grabcut_annotations import write_grabcut_annotations


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


def convert_grabcut(config: GrabCutConfig, data: DataConfig, *, overwrite: bool = False) -> Path:
    """Write the training annotations with GrabCut's foreground of each ground-truth box as the object's mask.

    Returns:
        The annotation file ``config.out``, to be used as train-annotations of [data].
    """
    train = read_coco(data.train_annotations, data.train_images)
    log_problems(train)
    return write_grabcut_annotations(config, train, overwrite=overwrite)
