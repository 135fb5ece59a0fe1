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
from maskx_pipeline.config import FORMATS, SOURCES, TOOLS, ConvertTeacherConfig, ConvertToConfig, DataConfig
from maskx_pipeline.config.formats import Format, Source
from maskx_pipeline.config.tools import Tool
from maskx_pipeline.project import PROJECT_FILE, Project, read_project


@click.group(name="convert", short_help="Other formats in and out, and masks by a teacher.")
def command() -> None:
    """Write COCO-format annotations of another data set, or with other masks; or hand them over to another tool."""


@command.group(name="from", short_help="Other formats in COCO format.")
def from_group() -> None:
    """Write COCO-format annotations of a data set in another format."""


@command.group(name="to", short_help="COCO format for other tools, and in other formats.")
def to_group() -> None:
    """Write COCO-format annotations as another tool or format wants them."""


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
        from maskx_pipeline.stages.convert import convert, convert_report

        out = convert(form, _project_of(folder).load(form.config, options), overwrite=overwrite)
        print_json(convert_report(out)) if as_json else print_result(out)

    return command


def _source_command(form: Source) -> click.Command:
    """The subcommand of a format to read; it needs no project either."""

    @click.command(name=form.name, short_help=form.summary, help=form.about)
    @click.argument("source", type=click.Path(path_type=Path, exists=True))
    @folder_option("Folder of the default paths; its maskx.toml is read if there is one.")
    @config_options(form.config)
    @json_option
    @overwrite_option
    def command(source: Path, folder: Path, as_json: bool, overwrite: bool, **options: Any) -> None:
        from maskx_pipeline.stages.convert import convert_from, convert_report

        out = convert_from(form, source, _project_of(folder).load(form.config, options), overwrite=overwrite)
        print_json(convert_report(out)) if as_json else print_result(out)

    return command


def _tool_command(tool: Tool) -> click.Command:
    """The subcommand of a tool to write for; without a project the image folder is to be given."""

    @click.command(name=tool.name, short_help=tool.summary, help=tool.about)
    @click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
    @folder_option("Project folder; its maskx.toml is read if there is one.")
    @config_options(ConvertToConfig)
    @json_option
    @overwrite_option
    def command(file: Path, folder: Path, as_json: bool, overwrite: bool, **options: Any) -> None:
        from maskx_pipeline.stages.convert import convert_report, convert_to

        project = _project_of(folder)
        data = project.load(DataConfig) if "data" in project.tables else None
        out = convert_to(tool, file, project.load(ConvertToConfig, options), data, overwrite=overwrite)
        print_json(convert_report(out)) if as_json else print_result(out)

    return command


def _project_of(folder: Path) -> Project:
    return read_project(folder) if (folder / PROJECT_FILE).exists() else Project(folder=folder, tables={})


for _form in FORMATS:
    command.add_command(_format_command(_form))
for _source in SOURCES:
    from_group.add_command(_source_command(_source))
for _tool in TOOLS:
    to_group.add_command(_tool_command(_tool))
