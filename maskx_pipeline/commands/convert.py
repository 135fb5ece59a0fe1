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
    sam_weights_option,
    stage_options,
    teacher_settings,
)
from maskx_pipeline.config import FORMATS, ConvertTeacherConfig, DataConfig
from maskx_pipeline.config.formats import Format
from maskx_pipeline.project import PROJECT_FILE, Project, read_project


@click.group(name="convert", short_help="Visual Genome, or masks by a teacher, in COCO format.")
def command() -> None:
    """Write COCO-format annotations of another data set, or with other masks."""


@command.command(name="teacher", short_help="Training masks by GrabCut, SAM or a class of your own.")
@click.argument("teacher")
@stage_options(ConvertTeacherConfig, sam_weights_option, as_json=True)
def teacher(
    teacher: str,
    project: Project,
    config: ConvertTeacherConfig,
    as_json: bool,
    overwrite: bool,
    weights: str | None,
) -> None:
    """Write the training annotations with TEACHER's mask for each box that has none.

    TEACHER is grabcut, sam, sam2, or a class of your own: package.module:Name or FILE.py:Name. Such masks are marked,
    trained on beside real ones, and never taken for truth. OUT.report.json counts them, and those where the teacher
    found nothing and the mask is the whole box.
    """
    from maskx_pipeline.stages.convert import convert_teacher
    from maskx_pipeline.teachers.annotations import read_teacher_report

    teachers = teacher_settings(project, weights)
    out = convert_teacher(teacher, config, project.load(DataConfig), teachers=teachers, overwrite=overwrite)
    print_json(read_teacher_report(out)) if as_json else print_result(out)


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
