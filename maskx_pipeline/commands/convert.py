"""`maskx convert`: other data sets in COCO format, and other masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maskx_pipeline.commands.options import (
    config_options,
    folder_option,
    json_option,
    overwrite_option,
    print_json,
    print_result,
    stage_options,
)
from maskx_pipeline.config import DataConfig, GrabCutConfig, VisualGenomeConfig
from maskx_pipeline.project import PROJECT_FILE, Project, read_project


@click.group(name="convert", short_help="Visual Genome, or masks by GrabCut, in COCO format.")
def command() -> None:
    """Write COCO-format annotations of another data set, or with other masks."""


@command.command(name="visual-genome", short_help="Visual Genome v1.4: boxes of its frequent synsets.")
@folder_option("Folder of the default paths; its maskx.toml is read if there is one.")
@config_options(VisualGenomeConfig)
@json_option
@overwrite_option
def visual_genome(folder: Path, as_json: bool, overwrite: bool, **options: Any) -> None:
    """Convert Visual Genome v1.4 to boxes of its most frequent synsets, with COCO's 80 categories first.

    Needs no project: `maskx init` comes after it, with the annotations that this writes. OUT/report.json counts every
    dropped object by its reason; OUT/coco-categories.json says which category is which of COCO's.
    """
    from maskx_pipeline.convert.visual_genome import read_report
    from maskx_pipeline.stages.convert_visual_genome import convert_visual_genome

    project = read_project(folder) if (folder / PROJECT_FILE).exists() else Project(folder=folder, tables={})
    out = convert_visual_genome(project.load(VisualGenomeConfig, options), overwrite=overwrite)
    print_json(read_report(out)) if as_json else print_result(out)


@command.command(name="grabcut", short_help="The training annotations with masks by GrabCut.")
@stage_options(GrabCutConfig, as_json=True)
def grabcut(project: Project, as_json: bool, overwrite: bool, **options: Any) -> None:
    """Write the training annotations with GrabCut's foreground of each ground-truth box as the object's mask.

    A model trained on them is Mask R-CNN trained on GrabCut masks. Needs OpenCV (the extra `grabcut`).
    OUT.report.json counts the objects, and those where GrabCut found nothing and the mask is the whole box.
    """
    from maskx_pipeline.stages.convert_grabcut import convert_grabcut
    from maskx_pipeline.teachers.grabcut_annotations import read_grabcut_report

    config = project.load(GrabCutConfig, options)
    out = convert_grabcut(config, project.load(DataConfig), overwrite=overwrite)
    print_json(read_grabcut_report(out)) if as_json else print_result(out)
