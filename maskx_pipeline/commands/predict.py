"""`maskx predict`: masks for new images."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import print_result, stage_options
from maskx_pipeline.config import PredictConfig
from maskx_pipeline.project import Project


@click.command(name="predict", short_help="Segment images: overlays and COCO results.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@stage_options(PredictConfig)
def command(images: tuple[Path, ...], project: Project, config: PredictConfig, overwrite: bool) -> None:
    """Segment IMAGES (files or folders): overlays (green: seen, red: unseen categories) and a COCO results file."""
    from maskx_pipeline.stages.predict import predict

    print_result(predict(config, images, classes=project.detector_classes(), overwrite=overwrite))
