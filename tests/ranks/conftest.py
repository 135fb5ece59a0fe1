"""A project for several processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ranks_world import maskx

SETTINGS = """
[detect]
backbone = "resnet18"
backbone-weights = "none"
fpn-channels = 16
box-head-dim = 32
min-size = 64
max-size = 64
anchor-sizes = [4, 8, 16, 32, 64]
canonical-box-size = 32
rpn-pre-nms = 100
rpn-post-nms = 50
rois-per-image = 32
iterations = 12
images-per-batch = 4
lr = 0.01
warmup-iterations = 4
steps = [10]
clip-grad-norm = 5.0
score-threshold = 0.0
detections-per-image = 10
workers = 0

[export-embeddings]
rois-per-object = 1
workers = 0

[fit-transfer]
head-width = 16
head-depth = 1
components = 4
epochs = 2.0
rois-per-batch = 8
embedding = "cls"

[e2e]
iterations = 4
images-per-batch = 2
eval-every = 2
workers = 0
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detector, cache and a mask model are done; half of the masks of val are missing."""
    folder = tmp_path_factory.mktemp("project")
    maskx(
        folder, "init", "--shapes", "--shapes-shapes", "2", "--shapes-textures", "2", "--shapes-hues", "2",
        "--shapes-train-count", "16", "--shapes-val-count", "7", "--shapes-image-size", "64",
    )  # fmt: skip
    toml = (folder / "maskx.toml").read_text(encoding="utf-8")
    (folder / "maskx.toml").write_text(toml[: toml.index("[detect]")] + SETTINGS, encoding="utf-8")
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
