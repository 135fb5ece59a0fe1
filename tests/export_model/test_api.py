"""The Python API, and the examples of its page."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imported_project import ImportedProject, T
from PIL import Image

import maskx_pipeline
from maskx_pipeline import Model, Prediction
from maskx_pipeline.data.images import read_image
from maskx_pipeline.errors import DataError, RunError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "python.md"


@pytest.fixture(scope="module")
def model(imported_project: ImportedProject) -> Model:
    return maskx_pipeline.load(imported_project.folder / "runs/transfer" / T, device="cpu")


def test_importing_the_package_is_cheap() -> None:
    """torch is imported by what needs it."""
    code = "import sys, maskx_pipeline as m; print('torch' in sys.modules, 'load' in dir(m), 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = maskx_pipeline.nonsense


def test_a_prediction_is_in_pixels_of_the_image(model: Model, imported_project: ImportedProject) -> None:
    """Every part has a row per object, masks lie in their boxes, and unseen categories are marked."""
    found = model.predict(imported_project.photo, score_threshold=0.05)
    count = len(found)
    assert isinstance(found, Prediction)
    assert count >= 5
    assert (found.boxes_xyxy.shape, found.masks.shape) == ((count, 4), (count, 64, 96))
    assert (found.masks.dtype, found.seen.dtype, found.labels.dtype) == (torch.bool, torch.bool, torch.int64)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    names = {1: "cat", 2: "dog", 3: "cow"}
    assert found.names == tuple(names[label] for label in found.labels.tolist())
    assert found.seen.tolist() == [label != 3 for label in found.labels.tolist()]
    assert {1, 3} & set(found.labels.tolist())
    assert found.masks.any()
    for mask, (left, top, right, bottom) in zip(found.masks, found.boxes_xyxy.tolist(), strict=True):
        rows, columns = torch.where(mask)
        if len(rows):
            assert left - 8 <= columns.min() <= columns.max() <= right + 8
            assert top - 8 <= rows.min() <= rows.max() <= bottom + 8


def test_every_kind_of_image_gives_the_same(model: Model, imported_project: ImportedProject) -> None:
    """A path, a PIL image, an array, and uint8 and float tensors."""
    pixels = read_image(imported_project.photo)
    kinds = [
        str(imported_project.photo),
        Image.open(imported_project.photo),
        pixels.permute(1, 2, 0).numpy(),
        pixels,
        pixels / 255,
    ]
    first, *others = [model.predict(kind, score_threshold=0.05) for kind in kinds]
    assert len(first) >= 5
    for other in others:
        assert torch.equal(other.boxes_xyxy, first.boxes_xyxy)
        assert torch.equal(other.masks, first.masks)


def test_the_threshold_leaves_out_the_rest(model: Model, imported_project: ImportedProject) -> None:
    """With nothing left, the shapes are still right."""
    every = model.predict(imported_project.photo, score_threshold=0.05)
    middle = float(every.scores[len(every) // 2])
    kept = model.predict(imported_project.photo, score_threshold=middle)
    assert 0 < len(kept) < len(every)
    assert kept.scores.min() >= middle
    nothing = model.predict(imported_project.photo, score_threshold=1.1)
    assert (len(nothing), nothing.masks.shape, nothing.names) == (0, (0, 64, 96), ())


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        torch.zeros(4, 4),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        torch.full((3, 4, 4), 2.0),
        torch.full((3, 4, 4), float("nan")),
        torch.zeros(3, 4, 4, dtype=torch.int64),
        torch.zeros(3, 0, 4),
        "nowhere.png",
        7,
    ],
)
def test_what_is_no_image_is_refused(model: Model, image: Any) -> None:
    """Instead of masks of something else."""
    with pytest.raises(DataError):
        model.predict(image)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """As on the command line."""
    with pytest.raises(RunError, match="holds no run"):
        maskx_pipeline.load(tmp_path)


def test_the_examples_of_the_page_run(imported_project: ImportedProject, tmp_path: Path) -> None:
    """Every Python block of docs/how-to/python.md, one after the other, in a project folder."""
    folder = tmp_path / "project"
    shutil.copytree(imported_project.folder, folder)
    (folder / "runs/transfer" / T).rename(
        folder / "runs/transfer/cls+box-rbf+xy+boxes"
    )  # the page has the default name
    shutil.copy(imported_project.photo, folder / "photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    with contextlib.chdir(folder):
        names: dict[str, Any] = {}
        for block in blocks:
            exec(block, names)
    assert isinstance(names["found"], Prediction)
    assert (folder / "runs/transfer/pca-4/run.json").is_file()
