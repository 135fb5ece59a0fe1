"""`maskx contact-sheet`: the paper's Figures 4 and 5."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import print_path, stage_options
from maskx_pipeline.config import ContactSheetConfig, DataConfig
from maskx_pipeline.project import Project


@click.command(name="contact-sheet", short_help="Models side by side in a picture (Figures 4, 5).")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Run folder of a model; give it once for each row, from top to bottom.",
)
@stage_options(ContactSheetConfig, as_json=True)
def command(
    images: tuple[Path, ...],
    models: tuple[Path, ...],
    project: Project,
    config: ContactSheetConfig,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Segment IMAGES (files or folders) with one or several models as one picture: a column per image, a row per model.

    Folders are gone through with their subfolders. Without IMAGES those of val in [data] are taken. Seen categories are
    green and unseen ones red and hatched, as in the overlays of `maskx predict`.
    """
    from maskx_pipeline.stages.first_checks import require_run

    for model in models:
        require_run(model)
    from maskx_pipeline.stages.contact_sheet import contact_sheet

    data, classes = project.load(DataConfig), project.detector_classes()
    path = contact_sheet(config, models, images, data, classes=classes, overwrite=overwrite)
    print_path("picture", path, as_json=as_json)
