"""`maskx doctor`: look at the data before training."""

from __future__ import annotations

import click

from maskx_pipeline.commands.options import json_option, print_json, project_option
from maskx_pipeline.config import DataConfig
from maskx_pipeline.errors import CheckFailedError
from maskx_pipeline.project import Project


@click.command(name="doctor")
@project_option
@json_option
def command(project: Project, as_json: bool) -> None:
    """Check the data set: per category its boxes, real masks and verdict, and every annotation with a problem.

    Exits with 3 where training would go wrong.
    """
    from maskx_pipeline import stages

    report = stages.check_data(project.load(DataConfig))
    print_json(report.to_json()) if as_json else click.echo(report.to_text())
    if report.fatal:
        raise CheckFailedError(
            "training would go wrong: " + "; ".join(report.fatal), "mend the data, then run this again"
        )
