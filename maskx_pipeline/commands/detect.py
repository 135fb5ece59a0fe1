"""`maskx detect`: stage 1."""

from __future__ import annotations

from typing import Any

import click

from maskx_pipeline.commands.options import command_line, config_options, overwrite_option, project_option
from maskx_pipeline.config import DataConfig, DetectConfig
from maskx_pipeline.project import Project


@click.group(name="detect")
def command() -> None:
    """Stage 1: Faster R-CNN on the boxes of all categories."""


@command.command(name="train")
@project_option
@config_options(DetectConfig)
@overwrite_option
def train(project: Project, overwrite: bool, **options: Any) -> None:
    """Train Faster R-CNN on the boxes of all categories, seen and unseen."""
    from maskx_pipeline import stages

    config = project.load(DetectConfig, options)
    folder = stages.train_detector(config, project.load(DataConfig), overwrite=overwrite, command=command_line())
    click.echo(folder)
