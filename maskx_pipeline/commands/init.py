"""`maskx init`: make a project folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from maskx_pipeline.commands.options import config_options, folder_option, json_option, overwrite_option, print_path
from maskx_pipeline.config import DataConfig, MasksConfig, ShapesConfig
from maskx_pipeline.settings import option_name

_OF_MASKS = " of another data set, whose masks stage 2 learns from"
_DATA = {
    "train_images": "Folder of the training images.",
    "train_annotations": "COCO-format annotations of these images.",
    "val_images": "Folder of the validation images.",
    "val_annotations": "COCO-format annotations of these images.",
}
_MASKS = {
    "train_images": f"Training images{_OF_MASKS}.",
    "train_annotations": f"Training annotations{_OF_MASKS}.",
    "val_images": f"Validation images{_OF_MASKS}.",
    "val_annotations": f"Validation annotations{_OF_MASKS}.",
    "category_map": "Which of its categories is which of these; not needed where ids and names are the same.",
}


def _path_options(function: Callable[..., None]) -> Callable[..., None]:
    named = [*_DATA.items(), *((f"masks_{name}", about) for name, about in _MASKS.items())]
    for name, about in reversed(named):
        flag = f"--{option_name(name)}"
        function = click.option(flag, type=click.Path(path_type=Path), help=about)(function)
    return function


@click.command(name="init", short_help="Make a project folder for a data set, or for `shapes`.")
@folder_option("Project folder to make.")
@_path_options
@click.option(
    "--passes",
    type=click.FloatRange(min=0, min_open=True),
    help="How often a training goes through the images; by default 12 for as many as COCO has, more for fewer, at most "
    "100.",
)
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="GPUs that share a training, two images each; 0: small sizes, to see the whole way on a CPU.",
)
@click.option(
    "--backbone-weights",
    metavar="TEXT",
    help="What the backbone starts from: imagenet (torchvision downloads it), none, or a weights file.  [default: "
    "imagenet; none with --gpus 0]",
)
@click.option("--shapes", "use_shapes", is_flag=True, help="Generate the data set `shapes`, with settings for a CPU.")
@config_options(ShapesConfig, leave_out=("out",), prefix="shapes-")
@json_option
@overwrite_option
def command(
    folder: Path,
    passes: float | None,
    gpus: int,
    backbone_weights: str | None,
    use_shapes: bool,
    as_json: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Make a project folder: maskx.toml for a COCO-format data set, or a generated one with --shapes.

    The schedule of training is made from the number of images: COCO on 8 GPUs gets the paper's. `maskx run` does the
    rest.
    """
    from maskx_pipeline.stages.init import init_project, init_shapes

    given = {name: options.pop(name) for name in _DATA}
    masks = {name: options.pop(f"masks_{name}") for name in _MASKS}
    missing = [f"--{option_name(name)}" for name, value in given.items() if value is None]
    if use_shapes:
        if len(missing) < len(given) or any(masks.values()) or passes is not None or backbone_weights is not None:
            raise click.UsageError(
                "--shapes generates its own data, and has its own schedule: leave out --train-images and the like."
            )
        shapes = ShapesConfig.from_mapping(
            {key: value for key, value in options.items() if value is not None}, source="command line"
        )
        path = init_shapes(folder, shapes, overwrite=overwrite)
    elif missing:
        raise click.UsageError(f"Missing {', '.join(missing)}; or give --shapes for a generated data set.")
    else:
        paths = {name: value for name, value in masks.items() if value is not None}
        path = init_project(
            folder,
            DataConfig(**given),
            masks=MasksConfig.from_mapping(paths, source="command line"),
            gpus=gpus,
            passes=passes,
            backbone_weights=backbone_weights,
            overwrite=overwrite,
        )
    print_path("settings", path, as_json=as_json)
