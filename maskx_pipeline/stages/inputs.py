"""What several stages begin with: reading the data set, and refusing to replace what is there."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import (
    DataConfig,
    TransferConfig,
)
from maskx_pipeline.data.coco import CocoData, log_problems, read_coco
from maskx_pipeline.engine.files import sha256_of_file
from maskx_pipeline.errors import ConfigError


def read_data(data: DataConfig, *, log: bool = True) -> tuple[CocoData, CocoData]:
    train = read_coco(data.train_annotations, data.train_images)
    val = read_coco(data.val_annotations, data.val_images, categories=train.categories)
    if log:
        log_problems(train)
        log_problems(val)
    return train, val


def read_train(data: DataConfig) -> CocoData:
    return read_coco(data.train_annotations, data.train_images, check_files=False)


def refuse_to_replace(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists.", "give --overwrite to replace it, or another folder")


def embedding_files(config: TransferConfig) -> dict[str, str]:
    """The content of the files that the class embedding is read from."""
    if config.embedding != "glove":
        return {}
    files = {"embedding file": config.embedding_file, "embedding names": config.embedding_names}
    return {name: sha256_of_file(path) for name, path in files.items() if path is not None}
