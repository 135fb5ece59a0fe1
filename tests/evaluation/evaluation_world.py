"""A tiny frozen detector, its RoI cache and a mask model, on a few generated images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from maskx_pipeline.cache.export import write_cache
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import CacheIdentity
from maskx_pipeline.config import DetectConfig, ExportConfig, TransferConfig
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.whole_model import WholeModel

CPU = torch.device("cpu")
SIZE = 64
CATEGORIES = [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 9, "name": "kite"}]
TINY = DetectConfig(
    backbone="resnet18",
    backbone_weights="none",
    box_head_dim=16,
    min_size=64,
    max_size=64,
    anchor_sizes=(8, 16, 32, 48, 64),
    canonical_box_size=32,
    rpn_post_nms=50,
    detections_per_image=8,
    cls_init_std=0.5,
    score_threshold=0.2,
)


@dataclass(frozen=True)
class World:
    """All that an evaluation needs."""

    cache: RoICache
    val: CocoData
    mask_model: MaskModel
    model: WholeModel


def rectangle(x: float, y: float, width: float, height: float) -> list[list[float]]:
    """A polygon."""
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def write_data(folder: Path, name: str, annotations: list[dict[str, Any]], *, images: int = 3) -> CocoData:
    """Write images of noise and an annotation file; each annotation needs image_id, category_id and bbox."""
    generator = np.random.default_rng(len(name))
    records = []
    (folder / name).mkdir(parents=True)
    for image_id in range(1, images + 1):
        height = SIZE - 8 * (image_id % 2)
        pixels = generator.integers(0, 256, (height // 8, SIZE // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / name / f"{image_id}.png")
        records.append({"id": image_id, "file_name": f"{image_id}.png", "width": SIZE, "height": height})
    entries = [
        {"id": number, "iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3]} | entry
        for number, entry in enumerate(annotations, start=1)
    ]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"images": records, "annotations": entries, "categories": CATEGORIES}))
    return read_coco(path, folder / name)


def objects(images: int) -> list[dict[str, Any]]:
    """Two masked objects for each image, categories in turn."""
    made = []
    for number in range(2 * images):
        box = [4 + 3 * number % 20, 6 + number % 10, 24 + number, 20 + number]
        category = CATEGORIES[number % len(CATEGORIES)]["id"]
        made.append(
            {
                "image_id": number // 2 + 1,
                "category_id": category,
                "bbox": box,
                "segmentation": rectangle(*box[:2], box[2] - 4, box[3] - 2),
            }
        )
    return made


@contextmanager
def make_world(folder: Path) -> Iterator[World]:
    """Export a detector with random weights by the real writer; image 4 of val has no objects."""
    train, val = (write_data(folder, name, objects(3), images=images) for name, images in (("train", 3), ("val", 4)))
    torch.manual_seed(1)
    detector = build_detector(num_classes=len(CATEGORIES) + 1, **detector_arguments(TINY)).eval()
    frozen = FrozenDetector(detector, device=CPU, amp_dtype=None, categories=train.categories, identity="detector")
    path = write_cache(
        ExportConfig(out=folder / "cache.h5", rois_per_object=1, roi_size=4, mask_size=8, workers=1),
        detector=frozen,
        identity=CacheIdentity("detector", {}, train.digest, val.digest),
        train=train,
        val=val,
    )
    with RoICache(path) as cache:
        mask_model = new_mask_model(
            TransferConfig(embedding="cls+box", form="published", head_width=8, head_depth=1),
            class_weights=cache.class_weights,
            category_names=[category.name for category in cache.categories],
            in_channels=cache.channels,
            roi_size=cache.roi_size,
        )
        yield World(cache, val, mask_model.eval(), WholeModel(frozen, mask_model, roi_size=cache.roi_size, device=CPU))
