"""A tiny data set with polygons, and the settings of models that train on it in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from maskx_pipeline.config import DataConfig, DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.detection.class_weights import class_weights
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.embedding import embedding_source

NAMES = ("cat", "dog", "cow")
UNSEEN = 3
ROI_SIZE = 7

DETECT: dict[str, Any] = {
    "backbone": "resnet18",
    "backbone_weights": "none",
    "fpn_channels": 8,
    "box_head_dim": 16,
    "min_size": 64,
    "max_size": 96,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "canonical_box_size": 32,
    "rpn_pre_nms": 60,
    "rpn_post_nms": 40,
    "rois_per_image": 32,
    "iterations": 2,
    "images_per_batch": 2,
    "lr": 0.01,
    "amp": "off",
    "eval_every": 0,
    "score_threshold": 0.0,
    "detections_per_image": 5,
    "workers": 0,
    "device": "cpu",
}
JOINT: dict[str, Any] = {
    "roi_size": ROI_SIZE,
    "iterations": 4,
    "images_per_batch": 2,
    "lr": 0.01,
    "warmup_iterations": 1,
    "steps": (3,),
    "clip_grad_norm": 10.0,
    "amp": "off",
    "eval_every": 4,
    "checkpoint_every": 100,
    "workers": 0,
    "device": "cpu",
}
TRANSFER: dict[str, Any] = {
    "form": "published",
    "box_loss": "none",
    "coordinates": False,
    "head_width": 8,
    "head_depth": 1,
    "components": 2,
}


def detect_config(**changes: Any) -> DetectConfig:
    return DetectConfig(**{**DETECT, **changes})


def joint_config(folder: Path, **changes: Any) -> E2EConfig:
    return E2EConfig(**{**JOINT, "out": folder / "e2e", "split": f"@{seen_file(folder)}", **changes})


def transfer_config(**changes: Any) -> TransferConfig:
    return TransferConfig(**{**TRANSFER, **changes})


def seen_file(folder: Path) -> Path:
    """The names of the seen categories; those of `UNSEEN` have masks too, which must not be used."""
    path = folder / "seen.txt"
    path.write_text("cat\ndog\n", encoding="utf-8")
    return path


def write_data(folder: Path, *, spoil_unseen: bool = False) -> DataConfig:
    """Six images with a triangle of each category; with ``spoil_unseen``, the unseen ones have other masks."""
    random = np.random.default_rng(0)
    images, annotations = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        pixels = random.integers(0, 60, (64, 96, 3), dtype=np.uint8)
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 64})
        for k in range(3):
            x, y, label = 3 + 30 * k, 8 + 4 * number, 1 + (number + k) % 3
            pixels[y : y + 24, x : x + 24, k] = 80 * label
            polygon = [x, y, x + 24, y, x + 24, y + 24]
            if spoil_unseen and label == UNSEEN:
                polygon = [x, y + 20, x + 3, y + 20, x + 3, y + 24]
            annotations.append(
                {"id": 10 * number + k, "image_id": number, "category_id": 5 * label, "bbox": [x, y, 24, 24],
                 "area": 576, "iscrowd": 0, "segmentation": [polygon]}
            )  # fmt: skip
        Image.fromarray(pixels).save(folder / f"{number}.png")
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 5 * label, "name": name} for label, name in enumerate(NAMES, start=1)],
    }
    (folder / "train.json").write_text(json.dumps(content), encoding="utf-8")
    if not spoil_unseen:
        (folder / "val.json").write_text(json.dumps(content), encoding="utf-8")
    return DataConfig(
        train_images=folder,
        train_annotations=folder / "train.json",
        val_images=folder,
        val_annotations=folder / "val.json",
    )


def joint_model(data: CocoData, *, stop_gradient: bool = True, **changes: Any) -> E2EModel:
    """An untrained model in training mode."""
    torch.manual_seed(0)
    transfer = transfer_config(**changes)
    detector = build_detector(num_classes=4, **detector_arguments(detect_config(cls_init_std=0.3, box_init_std=0.3)))
    names = [category.name for category in data.categories]
    mask_model = new_mask_model(
        transfer,
        class_weights=class_weights(detector),
        category_names=names,
        in_channels=8,
        roi_size=ROI_SIZE,
    )
    return E2EModel(
        detector=detector,
        mask_model=mask_model,
        source=embedding_source(transfer, names),
        stop_gradient=stop_gradient,
        roi_size=ROI_SIZE,
        box_loss=transfer.box_loss,
    ).train()
