"""`maskx report`: the runs of a study as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import command_line, print_path, stage_options
from maskx_pipeline.config import DataConfig, MasksConfig, ReportConfig
from maskx_pipeline.project import Project


@click.command(name="report", short_help="One HTML page about evaluated runs.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@stage_options(ReportConfig, as_json=True)
def command(runs: tuple[Path, ...], project: Project, config: ReportConfig, as_json: bool, overwrite: bool) -> None:
    """Write one HTML page about evaluated RUNS: tables, plots, a gallery, commands, settings and digests.

    The page needs no network and no other file. The baseline is the class-agnostic run among RUNS, else the first. The
    gallery shows recorded masks, so no model is run.
    """
    from maskx_pipeline.stages.report import report

    data, masks = project.load(DataConfig), project.load(MasksConfig)
    path = report(config, runs, data, masks=masks, overwrite=overwrite, command=command_line())
    print_path("report", path, as_json=as_json)
