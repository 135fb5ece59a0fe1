"""The project folder and its data set: init, convert, doctor."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import (
    SHAPES_PROJECT,
    DataConfig,
    ShapesConfig,
    VisualGenomeConfig,
)
from maskx_pipeline.data import visual_genome
from maskx_pipeline.data.check import DatasetReport, check_dataset
from maskx_pipeline.data.shapes import generate_shapes
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.project import PROJECT_FILE, write_project
from maskx_pipeline.stages.inputs import read_data, refuse_to_replace


def init_project(folder: Path, data: DataConfig, *, overwrite: bool = False) -> Path:
    """Write maskx.toml for a COCO-format data set.

    Returns:
        The path of maskx.toml.

    Raises:
        ConfigError: maskx.toml exists, or an annotation file or image folder does not.
    """
    refuse_to_replace(folder / PROJECT_FILE, overwrite)
    for path in (data.train_images, data.train_annotations, data.val_images, data.val_annotations):
        if not path.exists():
            raise ConfigError(f"{path} does not exist.", "give the path of your data set")
    return write_project(folder, {data.table: data.to_mapping()})


def init_shapes(folder: Path, shapes: ShapesConfig, *, overwrite: bool = False) -> Path:
    """Generate the data set `shapes` in a new project folder, and write maskx.toml with settings for two CPU cores.

    Returns:
        The path of maskx.toml.
    """
    refuse_to_replace(folder / PROJECT_FILE, overwrite)
    data_folder = generate_shapes(shapes.replace(out=folder / shapes.out), overwrite=overwrite)
    relative = data_folder.relative_to(folder).as_posix()
    data = {
        "train-images": f"{relative}/train",
        "train-annotations": f"{relative}/train.json",
        "val-images": f"{relative}/val",
        "val-annotations": f"{relative}/val.json",
    }
    return write_project(folder, {"data": data, "shapes": shapes.to_mapping(), **SHAPES_PROJECT})


def convert_visual_genome(config: VisualGenomeConfig, *, overwrite: bool = False) -> Path:
    """Convert Visual Genome's own files to COCO-format train, val and test annotations, COCO's categories first.

    Returns:
        The folder ``config.out``, with the map of COCO's categories and a report of every dropped object.
    """
    return visual_genome.convert_visual_genome(config, overwrite=overwrite)


def check_data(data: DataConfig) -> DatasetReport:
    """Look at the data set before training: per category boxes, masks and verdict, and every problem by its id."""
    train, val = read_data(data, log=False)
    return check_dataset(train, val)
