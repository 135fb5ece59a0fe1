"""`maskx predict`: masks for new images."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import print_path, stage_options
from maskx_pipeline.config import DataConfig, PredictConfig
from maskx_pipeline.project import Project


@click.command(name="predict", short_help="Segment images: overlays and COCO results.")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path, exists=True))
@stage_options(PredictConfig, as_json=True)
def command(images: tuple[Path, ...], project: Project, config: PredictConfig, as_json: bool, overwrite: bool) -> None:
    """Segment IMAGES (files or folders): overlays (green: seen; red, hatched: unseen categories), COCO results.

    Folders are gone through with their subfolders. Without IMAGES those of val in [data] are taken, under the names and
    ids that it gives them.
    """
    from maskx_pipeline.stages.first_checks import require_model

    require_model(config)
    from maskx_pipeline.stages.predict import predict

    data, classes = project.load(DataConfig), project.detector_classes()
    print_path("folder", predict(config, images, data, classes=classes, overwrite=overwrite), as_json=as_json)
