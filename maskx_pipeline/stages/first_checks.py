"""What a command looks for before it imports its stage: a person who mistyped a path is answered at once.

Only whether it is there: run.json is read by the stage, once.
"""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import DataConfig
from maskx_pipeline.config.evaluation import ModelConfig
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.run_folder import RUN_FILE, read_run
from maskx_pipeline.provenance.there import newest_run, require_cache
from maskx_pipeline.settings import class_of, option_name

__all__ = ["require_cache", "require_data", "require_detector", "require_model", "require_run", "require_start"]


def require_run(folder: Path, *, stage: str | None = None) -> None:
    """Raise an error if a folder holds no run.

    Args:
        stage: The one that would write it, for the error.

    Raises:
        RunError: That.
    """
    if not (folder / RUN_FILE).is_file():
        read_run(folder, stage=stage)


def require_model(config: ModelConfig) -> None:
    """Raise an error if there is no such model.

    Raises:
        RunError: That.
    """
    if config.model is not None:
        require_run(config.model)
    elif not any(config.runs.glob(f"*/*/{RUN_FILE}")):
        newest_run(config.runs)


def require_detector(detector: Path) -> None:
    """Raise an error if there is no run of such a detector; a class is looked for when it is imported.

    Raises:
        RunError: That.
    """
    if not class_of(detector):
        require_run(detector, stage="detect")


def require_start(init: Path) -> None:
    """Raise an error if joint training cannot start from there, since nothing is there.

    Raises:
        RunError: That.
    """
    if init.name != "backbone" and not init.exists():
        require_run(init)


def require_data(data: DataConfig) -> None:
    """Raise an error if an annotation file or an image folder is missing.

    Raises:
        DataError: That.
    """
    for name in ("train_annotations", "val_annotations", "train_images", "val_images"):
        path = getattr(data, name)
        if not path.exists():
            what = "image folder" if name.endswith("images") else "annotation file"
            raise DataError(f"the {what} {path} does not exist.", f"check {option_name(name)} in [data] of maskx.toml")
