"""`maskx init`: make a project folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from maskx_pipeline.commands.options import config_options, folder_option, overwrite_option, print_result
from maskx_pipeline.config import DataConfig, MasksConfig, ShapesConfig

_MASKS = [item.name for item in dataclasses.fields(MasksConfig)]
_OF_MASKS = " of another data set, whose masks stage 2 learns from"


@click.command(name="init", short_help="Make a project folder for a data set, or for `shapes`.")
@folder_option("Project folder to make.")
@click.option("--train-images", type=click.Path(path_type=Path), help="Folder of the training images.")
@click.option("--train-annotations", type=click.Path(path_type=Path), help="COCO-format annotations of these images.")
@click.option("--val-images", type=click.Path(path_type=Path), help="Folder of the validation images.")
@click.option("--val-annotations", type=click.Path(path_type=Path), help="COCO-format annotations of these images.")
@click.option("--masks-train-images", type=click.Path(path_type=Path), help=f"Training images{_OF_MASKS}.")
@click.option("--masks-train-annotations", type=click.Path(path_type=Path), help=f"Training annotations{_OF_MASKS}.")
@click.option("--masks-val-images", type=click.Path(path_type=Path), help=f"Validation images{_OF_MASKS}.")
@click.option("--masks-val-annotations", type=click.Path(path_type=Path), help=f"Validation annotations{_OF_MASKS}.")
@click.option(
    "--masks-category-map",
    type=click.Path(path_type=Path),
    help="Which of its categories is which of these; not needed where ids and names are the same.",
)
@click.option("--shapes", "use_shapes", is_flag=True, help="Generate the data set `shapes`, with settings for a CPU.")
@config_options(ShapesConfig, leave_out=("out",), prefix="shapes-")
@overwrite_option
def command(
    folder: Path,
    train_images: Path | None,
    train_annotations: Path | None,
    val_images: Path | None,
    val_annotations: Path | None,
    use_shapes: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Make a project folder: maskx.toml for a COCO-format data set, or a generated one with --shapes."""
    from maskx_pipeline.stages.init import init_project, init_shapes

    given = {
        "--train-images": train_images,
        "--train-annotations": train_annotations,
        "--val-images": val_images,
        "--val-annotations": val_annotations,
    }
    masks = {name: options.pop(f"masks_{name}") for name in _MASKS}
    missing = [flag for flag, value in given.items() if value is None]
    if use_shapes:
        if len(missing) < len(given) or any(masks.values()):
            raise click.UsageError("--shapes generates its own data: leave out --train-images and the like.")
        shapes = ShapesConfig.from_mapping(
            {key: value for key, value in options.items() if value is not None}, source="command line"
        )
        path = init_shapes(folder, shapes, overwrite=overwrite)
    elif missing:
        raise click.UsageError(f"Missing {', '.join(missing)}; or give --shapes for a generated data set.")
    else:
        data = DataConfig(**{flag[2:].replace("-", "_"): value.resolve() for flag, value in given.items() if value})
        paths = {name: value.resolve() for name, value in masks.items() if value is not None}
        mask_data = MasksConfig.from_mapping(paths, source="command line")
        path = init_project(folder, data, masks=mask_data, overwrite=overwrite)
    print_result(path)
