"""A tiny detector and data set; as a program, a training that a test can kill: tiny_detector.py FOLDER [KILL_AT]."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.data.coco import Annotation, Category, CocoData, ImageRecord
from maskx_pipeline.detection import image_training
from maskx_pipeline.detection.train import train_detector
from maskx_pipeline.engine.runlog import LONGER_ITERATIONS, open_run

CATEGORIES = (Category(3, "cat", 1), Category(7, "dog", 2), Category(11, "cow", 3))

SETTINGS: dict[str, Any] = {
    "backbone": "resnet18",
    "backbone_weights": "none",
    "fpn_channels": 16,
    "box_head_dim": 16,
    "min_size": 64,
    "max_size": 96,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "canonical_box_size": 32,
    "rpn_pre_nms": 60,
    "rpn_post_nms": 40,
    "rois_per_image": 16,
    "iterations": 6,
    "images_per_batch": 2,
    "lr": 0.01,
    "warmup_iterations": 2,
    "steps": (5,),
    "clip_grad_norm": 10.0,
    "amp": "off",
    "eval_every": 3,
    "checkpoint_every": 100,
    "workers": 0,
    "device": "cpu",
}


def tiny_config(**changes: Any) -> DetectConfig:
    """Settings that train in seconds."""
    return DetectConfig(**{**SETTINGS, **changes})


def tiny_data(folder: Path) -> CocoData:
    """Five images of different sizes with one or two boxes each, and one without."""
    random = np.random.default_rng(0)
    images, annotations = [], []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        width, height = 64 + 8 * number, 64
        pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
        images.append(ImageRecord(number, f"{number}.png", width, height))
        for k in range(min(number, 2)):
            x, y = 4.0 + 20 * k, 6.0 + 16 * k
            pixels[int(y) : int(y) + 20, int(x) : int(x) + 24] = 40 * (k + 1)
            label = 1 + (number + k) % 3
            annotations.append(Annotation(10 * number + k, number, label, (x, y, x + 24, y + 20), 480, False, None))
        if not (folder / f"{number}.png").exists():
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return CocoData(
        path=folder / "x.json",
        image_dir=folder,
        categories=CATEGORIES,
        images=tuple(images),
        annotations=tuple(annotations),
    )


def measure(detector: FasterRCNN) -> dict[str, float]:
    """Stands for box AP: a number that depends on the weights."""
    return {"box_ap": float(detector.roi_heads.box_predictor.cls_score.weight.abs().sum())}


def train(folder: Path, **changes: Any) -> Path:
    """Train in ``folder/run`` on images in ``folder/images``."""
    config = tiny_config(out=folder / "run", **changes)
    run = open_run(
        config.out,
        stage="detect",
        identity=config.identity(),
        config=config.to_mapping(),
        inputs={"train": "x"},
        longer=LONGER_ITERATIONS,
    )
    train_detector(config, tiny_data(folder / "images"), run=run, evaluate=measure)
    return config.out


if __name__ == "__main__":
    if len(sys.argv) > 2:
        read_batches = image_training.batches

        def batches_that_kill(*args: Any, start: int, **kwargs: Any) -> Any:
            for step, batch in enumerate(read_batches(*args, start=start, **kwargs), start=start):
                if step == int(sys.argv[2]):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

        image_training.batches = batches_that_kill  # type: ignore[assignment]
    train(Path(sys.argv[1]), **{"checkpoint_every": 2} | json.loads(sys.argv[3] if len(sys.argv) > 3 else "{}"))
