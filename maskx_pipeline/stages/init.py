"""`maskx init`: the project folder, for a data set or with a generated one."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import SHAPES_PROJECT, DataConfig, MasksConfig, ShapesConfig
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.project import PROJECT_FILE, write_project
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.shapes.generate import generate_shapes
from maskx_pipeline.stages.inputs import NO_MASKS, other_data, paths_of, refuse_to_replace


def init_project(folder: Path, data: DataConfig, *, masks: MasksConfig = NO_MASKS, overwrite: bool = False) -> Path:
    """Write maskx.toml for a COCO-format data set, and for another one with its masks if given; returns its path.

    Raises:
        ConfigError: maskx.toml exists, or an annotation file or image folder does not, or ``masks`` is given in part.
    """
    refuse_to_replace(folder / PROJECT_FILE, overwrite)
    tables = {data.table: {name: path for name, path in data.to_mapping().items() if name in paths_of(data)}}
    if other_data(masks) is not None:
        tables[masks.table] = {name: path for name, path in masks.to_mapping().items() if path is not None}
    for path in (path for table in tables.values() for path in table.values()):
        if not Path(path).exists():
            raise ConfigError(f"{path} does not exist.", "give the path of your data set")
    return write_project(folder, tables)


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
