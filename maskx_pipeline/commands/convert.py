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
from maskx_pipeline.config import FORMATS, DataConfig, GrabCutConfig
from maskx_pipeline.config.formats import Format
from maskx_pipeline.project import PROJECT_FILE, Project, read_project


@click.group(name="convert", short_help="Visual Genome, or masks by GrabCut, in COCO format.")
def command() -> None:
    """Write COCO-format annotations of another data set, or with other masks."""


@command.command(name="grabcut", short_help="The training annotations with masks by GrabCut.")
@stage_options(GrabCutConfig, as_json=True)
def grabcut(project: Project, config: GrabCutConfig, as_json: bool, overwrite: bool) -> None:
    """Write the training annotations with GrabCut's foreground of each ground-truth box as the object's mask.

    A model trained on them is Mask R-CNN trained on GrabCut masks. Needs OpenCV (the extra `grabcut`).
    OUT.report.json counts the objects, and those where GrabCut found nothing and the mask is the whole box.
    """
    from maskx_pipeline.stages.convert import convert_grabcut
    from maskx_pipeline.teachers.grabcut_annotations import read_grabcut_report

    out = convert_grabcut(config, project.load(DataConfig), overwrite=overwrite)
    print_json(read_grabcut_report(out)) if as_json else print_result(out)


def _format_command(form: Format) -> click.Command:
    """The subcommand of a format; it needs no project, since `maskx init` comes after it."""

    @click.command(name=form.config.table, short_help=form.summary, help=form.about)
    @folder_option("Folder of the default paths; its maskx.toml is read if there is one.")
    @config_options(form.config)
    @json_option
    @overwrite_option
    def command(folder: Path, as_json: bool, overwrite: bool, **options: Any) -> None:
        from maskx_pipeline.stages.convert import convert, read_report

        project = read_project(folder) if (folder / PROJECT_FILE).exists() else Project(folder=folder, tables={})
        out = convert(form, project.load(form.config, options), overwrite=overwrite)
        print_json(read_report(form, out)) if as_json else print_result(out)

    return command


for _form in FORMATS:
    command.add_command(_format_command(_form))
