"""A small project with a detector of a user's own, a class of a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskx_pipeline.commands import run

TRIANGLE = [[5.0, 5.0, 35.0, 5.0, 5.0, 25.0]]
SMALL = ["--head-width", "8", "--head-depth", "1", "--epochs", "1", "--rois-per-batch", "8"]


TINY = """
from pathlib import Path
from types import SimpleNamespace

import torch

from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.detector import Detections

Path("imported.txt").touch()


class Tiny:
    # Finds one object, whatever the image; its features are the box itself.
    channels = 4
    categories = (Category(3, "cat", 1), Category(7, "cow", 2))

    def __init__(self, label: int = 2, rows: int = 2, name: str = "tiny", most: int = 1) -> None:
        self.label, self.identity, zeros = label, name, torch.zeros
        self.detections_per_image = most
        self.class_weights = ClassWeights(
            torch.arange(5.0 * rows).reshape(rows, 5), zeros(rows), zeros(rows, 0), zeros(rows, 0)
        )

    def extract(self, image):
        Path("looked.txt").touch()
        box = torch.tensor([[4.0, 6.0, 34.0, 26.0]])
        return SimpleNamespace(
            detections=Detections(box, torch.tensor([0.75]), torch.tensor([self.label])),
            proposals_xyxy=box,
            pool=lambda boxes, size: (boxes / 40)[:, :, None, None].expand(-1, -1, size, size),
        )


class Half:
    channels = 4
"""
EXPORT = {"roi-size": 3, "mask-size": 6, "rois-per-object": 1}


def make_data(folder: Path) -> None:
    """Two images with an object of each of two categories, for train and val alike."""
    folder.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.full((30, 40, 3), 100 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "cow"}],
        "annotations": [
            {"id": 10 * n + c, "image_id": n, "category_id": c, "bbox": [5, 5, 30, 20], "segmentation": TRIANGLE,
             "area": 300, "iscrowd": 0}
            for n in (1, 2) for c in (3, 7)
        ],
    }  # fmt: skip
    (folder / "all.json").write_text(json.dumps(content), encoding="utf-8")


def make_project(folder: Path) -> None:
    """Data, tiny.py and a maskx.toml that does not name it; the working directory must be the folder."""
    make_data(folder / "data")
    (folder / "tiny.py").write_text(TINY, encoding="utf-8")
    write_toml()


def write_toml(detector: str = "", **settings: str | int) -> None:
    """maskx.toml, which names a detector only if it is given."""
    tables: dict[str, dict[str, Any]] = {
        "data": {f"{part}-{what}": path for part in ("train", "val") for what, path in
                 (("images", "data"), ("annotations", "data/all.json"))},
        "export-embeddings": EXPORT | ({"detector": detector} if detector else {}),
        "detector": settings,
    }  # fmt: skip
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    Path("maskx.toml").write_text("\n".join(lines), encoding="utf-8")


def export(*options: str) -> int:
    """Write runs/cache.h5 with tiny.py."""
    return run(["export-embeddings", "--detector", "tiny.py:Tiny", *options])


def fit(detector: str = "tiny.py:Tiny") -> None:
    """A cache and a model of it."""
    assert export() == 0
    assert run(["fit-transfer", "--embedding", "cls", "--name", "tiny", "--detector", detector, *SMALL]) == 0
