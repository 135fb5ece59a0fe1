"""A small project with six categories, a detector of a few lines and a RoI cache, to tune on in seconds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from maskx_pipeline.commands import run

NAMES = {2: "ant", 3: "bee", 5: "cat", 7: "dog", 8: "elk", 9: "fox"}
SEEN = ("ant", "bee", "cat", "dog", "elk")
WIDTH, HEIGHT, IMAGES = 48, 40, 8

DETECTOR = """
from types import SimpleNamespace

import torch
from torch.nn.functional import interpolate

from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.detector import Detections

NAMES = {names}


class Tiny:
    # Finds three boxes, whatever the image; its features are the pixels there.
    channels = 3
    categories = tuple(Category(id_, name, label) for label, (id_, name) in enumerate(NAMES.items(), start=1))
    identity = "tiny"
    detections_per_image = 3

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        weights = [torch.randn(len(NAMES), width, generator=generator) for width in (5, 20)]
        self.class_weights = ClassWeights(
            weights[0], torch.zeros(len(NAMES)), weights[1], torch.zeros(len(NAMES), 4)
        )

    def extract(self, image):
        boxes = torch.tensor([[2.0, 2.0, 22.0, 18.0], [24.0, 2.0, 46.0, 18.0], [2.0, 20.0, 22.0, 38.0]])
        label = 1 + int(image.sum()) % len(NAMES)
        labels = torch.tensor([label, 1 + label % len(NAMES), 1 + (label + 1) % len(NAMES)])

        def pool(boxes, size):
            crops = [
                interpolate(image[None, :, int(y1) : int(y2), int(x1) : int(x2)], (size, size))
                for x1, y1, x2, y2 in boxes.tolist()
            ]
            return torch.cat(crops) if crops else torch.zeros(0, 3, size, size)

        return SimpleNamespace(
            detections=Detections(boxes, torch.tensor([0.9, 0.8, 0.7]), labels), proposals_xyxy=boxes, pool=pool
        )
"""
TOML = """
[data]
train-images = "images"
train-annotations = "train.json"
val-images = "images"
val-annotations = "val.json"

[export-embeddings]
detector = "tiny.py:Tiny"
roi-size = 3
mask-size = 6
rois-per-object = 1
workers = 1

[fit-transfer]
detector = "tiny.py:Tiny"
head-width = 8
head-depth = 1
epochs = 1.0
rois-per-batch = 8
components = 2
amp = "off"
split = "@seen.txt"
"""
DESIGNS = """
[plain]
embedding = "none"
box-loss = "none"

[ours]
embedding = "cls"

[published]
embedding = "cls"
form = "published"
"""


def make_project(
    folder: Path,
    *,
    corrupt: Collection[str] = (),
    parts: Collection[str] = ("train", "val"),
    seen: Collection[str] = SEEN,
) -> Path:
    """Write the project and its cache.

    Args:
        corrupt: Categories whose masks are other ones, in these parts of the data.
        seen: The names in seen.txt.
    """
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(1, IMAGES + 1):
        pixels = generator.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    for part in ("train", "val"):
        content = _annotations(part, corrupt if part in parts else ())
        (folder / f"{part}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "seen.txt").write_text("\n".join(seen), encoding="utf-8")
    (folder / "tiny.py").write_text(DETECTOR.replace("{names}", repr(NAMES)), encoding="utf-8")
    (folder / "maskx.toml").write_text(TOML, encoding="utf-8")
    (folder / "designs.toml").write_text(DESIGNS, encoding="utf-8")
    with contextlib.chdir(folder):
        assert run(["export-embeddings"]) == 0
    return folder


def _annotations(part: str, corrupt: Collection[str]) -> dict[str, object]:
    """Each image has three objects; the mask of one is a triangle in its box, corrupted the other half of the box."""
    entries: list[dict[str, object]] = []
    order = list(NAMES)
    for image in range(1, IMAGES + 1):
        for place, (x, y, w, h) in enumerate(((2, 2, 20, 16), (24, 2, 22, 16), (2, 20, 20, 18))):
            id_ = order[(image + 2 * place + (part == "val")) % len(order)]
            wrong = NAMES[id_] in corrupt
            polygon = [x + w, y, x + w, y + h, x, y + h] if wrong else [x, y, x + w, y, x, y + h]
            entries.append(
                {"id": len(entries) + 1, "image_id": image, "category_id": id_, "bbox": [x, y, w, h],
                 "segmentation": [polygon], "area": w * h / 2, "iscrowd": 0}
            )  # fmt: skip
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(1, IMAGES + 1)],
        "categories": [{"id": id_, "name": name} for id_, name in NAMES.items()],
        "annotations": entries,
    }
