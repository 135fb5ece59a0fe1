"""`maskx detect`: stage 1."""

from __future__ import annotations

from collections.abc import Mapping

import click

from maskx_pipeline.commands.options import command_line, print_path, stage_options
from maskx_pipeline.config import IMPORTED_ONLY, DataConfig, DetectConfig, ImportConfig
from maskx_pipeline.project import Project


@click.group(name="detect", short_help="Stage 1: Faster R-CNN on the boxes of all categories.")
def command() -> None:
    """Stage 1: Faster R-CNN on the boxes of all categories."""


@command.command(name="train", short_help="Train Faster R-CNN.")
@stage_options(DetectConfig, leave_out=IMPORTED_ONLY, as_json=True, checks_data=True)
def train(
    project: Project,
    config: DetectConfig,
    data: DataConfig,
    accepted: Mapping[str, str],
    as_json: bool,
    overwrite: bool,
) -> None:
    """Train Faster R-CNN on the boxes of all categories, seen and unseen."""
    from maskx_pipeline.stages.first_checks import require_data

    require_data(data)
    from maskx_pipeline.stages.detect_train import train_detector

    folder = train_detector(config, data, accepted=accepted, overwrite=overwrite, command=command_line())
    print_path("run", folder, as_json=as_json)


@command.command(name="import", short_help="Take torchvision's Faster R-CNN, by name or from a file.")
@stage_options(ImportConfig, as_json=True)
def import_(project: Project, config: ImportConfig, as_json: bool, overwrite: bool) -> None:
    """Take torchvision's Faster R-CNN instead of training one: its outputs are mapped to the categories by name."""
    from maskx_pipeline.stages.detect_import import import_detector

    folder = import_detector(config, project.load(DataConfig), overwrite=overwrite, command=command_line())
    print_path("run", folder, as_json=as_json)
