"""`maskx annotate`: masks for boxes that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maskx_pipeline.commands.options import (
    config_options,
    json_option,
    overwrite_option,
    print_json,
    print_result,
    project_option,
)
from maskx_pipeline.config import AnnotateConfig, DataConfig
from maskx_pipeline.errors import DataError
from maskx_pipeline.project import Project


@click.command(name="annotate", short_help="Fill the missing masks of a COCO-format data set.")
@click.argument("dataset", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@project_option
@config_options(AnnotateConfig)
@click.option("--evaluate", is_flag=True, help="Only hide the masks that exist, predict them, and report mask IoU.")
@json_option
@overwrite_option
def command(dataset: Path, project: Project, evaluate: bool, as_json: bool, overwrite: bool, **options: Any) -> None:
    """Fill the missing masks of DATASET, a COCO-format annotation file, from its boxes and their categories.

    Masks that exist, ids, order, and every other byte stay as they are. Interrupted, it continues where it stopped.
    """
    from maskx_pipeline.stages.annotate import annotate_boxes, evaluate_annotation

    config, data = project.load(AnnotateConfig, options), project.load(DataConfig)
    classes = project.detector_classes()
    if evaluate:
        quality = evaluate_annotation(config, data, dataset, classes=classes)
        print_json(quality.to_json()) if as_json else print_result(quality.to_text())
        return
    annotated = annotate_boxes(config, data, dataset, classes=classes, overwrite=overwrite)
    print_json(annotated.to_json()) if as_json else print_result(annotated.to_text())
    if annotated.unreadable:
        raise DataError(
            f"{len(annotated.unreadable)} images cannot be used, so that their annotations stay without masks; the "
            f"first: {annotated.unreadable[0].reason}",
            "mend them and give the same command again: it does only these",
        )
