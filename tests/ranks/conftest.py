"""A project for several processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ranks_world import maskx
from tiny_project import TRAINED, shapes_of, write_settings

SETTINGS = {
    "detect": TRAINED,
    "export-embeddings": {"rois-per-object": 1, "workers": 0},
    "fit-transfer": {
        "head-width": 16, "head-depth": 1, "components": 4, "epochs": 2.0, "rois-per-batch": 8, "embedding": "cls",
    },
    "e2e": {"iterations": 4, "images-per-batch": 2, "eval-every": 2, "workers": 0},
}  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detector, cache and a mask model are done; half of the masks of val are missing."""
    folder = tmp_path_factory.mktemp("project")
    maskx(folder, "init", *shapes_of(train=16, val=7))
    write_settings(folder, SETTINGS)
    for command in (("detect", "train"), ("export-embeddings",), ("fit-transfer", "--name", "one")):
        maskx(folder, *command)
    boxes = json.loads((folder / "data/shapes/val.json").read_text(encoding="utf-8"))
    for entry in boxes["annotations"]:
        entry["segmentation"] = []
    (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to write into."""
    return Path(shutil.copytree(made, tmp_path / "project"))
