"""`maskx init`: the project folder, for a data set or with a generated one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from maskx_pipeline.config import SHAPES_PROJECT, DataConfig, MasksConfig, ShapesConfig
from maskx_pipeline.config.detection import NONE
from maskx_pipeline.config.first_schedule import SMALL, Tables, first_schedule, passes_of
from maskx_pipeline.data.category_sets import count_objects
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.project import PROJECT_FILE, write_project
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.shapes.generate import generate_shapes
from maskx_pipeline.stages.inputs import NO_MASKS, other_data, paths_of, read_train, refuse_to_replace

logger = logging.getLogger("maskx")

_NVIDIA = Path("/proc/driver/nvidia/version")  # is there where a GPU's driver is; asking torch takes seconds


def init_project(
    folder: Path,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    gpus: int = 1,
    passes: float | None = None,
    backbone_weights: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write maskx.toml for a COCO-format data set, and for another one with its masks if given; returns its path.

    The schedule of [detect] and [e2e] is made from the number of training images that have a box.

    Args:
        data: Paths that lie beside the project, under the same folder of the root, are written relative to it.
        gpus: How many share a training; 0: a CPU, with sizes at which it goes the whole way in minutes.
        passes: How often a training goes through the images; by default by their number.
        backbone_weights: Of [detect]; by default ImageNet's, and none where ``gpus`` is 0.

    Raises:
        ConfigError: maskx.toml exists, or an annotation file or image folder does not, or ``masks`` is given in part.
        DataError: An annotation file cannot be read, or no image has a box.
    """
    refuse_to_replace(folder / PROJECT_FILE, overwrite)
    tables = {data.table: {name: path for name, path in data.to_mapping().items() if name in paths_of(data)}}
    if other_data(masks) is not None:
        tables[masks.table] = {name: path for name, path in masks.to_mapping().items() if path is not None}
    for path in (path for table in tables.values() for path in table.values()):
        if not Path(path).exists():
            raise ConfigError(f"{path} does not exist.", "give the path of your data set")
    trained = _trained_tables(data, gpus=gpus, passes=passes, backbone_weights=backbone_weights)
    paths = {
        name: {key: _from_project(Path(path), folder) for key, path in table.items()} for name, table in tables.items()
    }
    return write_project(folder, {**paths, **trained})


def _trained_tables(data: DataConfig, *, gpus: int, passes: float | None, backbone_weights: str | None) -> Tables:
    """The tables of the stages, for the images that are there."""
    images = len(count_objects(read_train(data)))
    if images == 0:
        raise DataError(f"No image of {data.train_annotations} has a box.", "give the annotations of training images")
    val = read_coco(data.val_annotations, data.val_images, check_files=False)
    schedule = first_schedule(images, len(val.images), gpus=gpus, passes=passes)
    weights = backbone_weights or (NONE if gpus == 0 else None)
    if weights is not None and Path(weights).is_file():
        weights = str(Path(weights).resolve())
    tables: Tables = {"detect": {} if weights is None else {"backbone-weights": weights}, "e2e": {}}
    for name, table in SMALL.items() if gpus == 0 else ():
        tables[name] = {**tables.get(name, {}), **table}
    for name in ("detect", "e2e"):
        tables[name] |= schedule
    logger.info(
        "%d training images with boxes: %s iterations of %s images at a learning rate of %s, %.3g times through all; "
        "--passes changes that.",
        images,
        schedule["iterations"],
        schedule["images-per-batch"],
        schedule["lr"],
        passes_of(schedule, images),
    )
    if gpus == 0:
        logger.info("A small detector on small images, to see the whole way on a CPU.")
    elif not _NVIDIA.exists():
        logger.info(
            "Sizes are the paper's, for a GPU, and none was found here. `maskx init --gpus 0` writes small ones, to "
            "see the whole way on a CPU."
        )
    return tables


def _from_project(path: Path, folder: Path) -> str:
    """The path as maskx.toml has it: relative, unless it shares only the root, so that both may move together."""
    whole = path.resolve() if ".." in path.parts else path.absolute()
    project = folder.resolve()
    together = len(whole.parts) > 1 and len(project.parts) > 1 and whole.parts[1] == project.parts[1]
    return Path(os.path.relpath(whole, project)).as_posix() if together else str(whole)


def init_shapes(folder: Path, shapes: ShapesConfig, *, overwrite: bool = False) -> Path:
    """Generate the data set `shapes` in a new project folder, and maskx.toml for two CPU cores; returns its path."""
    refuse_to_replace(folder / PROJECT_FILE, overwrite)
    with locked(folder / shapes.out, folder=True):
        data_folder = generate_shapes(shapes.replace(out=folder / shapes.out), overwrite=overwrite)
    relative = data_folder.relative_to(folder).as_posix()
    data = {
        "train-images": f"{relative}/train",
        "train-annotations": f"{relative}/train.json",
        "val-images": f"{relative}/val",
        "val-annotations": f"{relative}/val.json",
    }
    return write_project(folder, {"data": data, "shapes": shapes.to_mapping(), **SHAPES_PROJECT})
