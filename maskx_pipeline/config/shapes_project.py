"""What `maskx init --shapes` writes beside [data] and [shapes]."""

from __future__ import annotations

# What `maskx init --shapes` writes beside [data] and [shapes]: sizes with which two CPU cores train in minutes.
SHAPES_PROJECT: dict[str, dict[str, object]] = {
    "detect": {
        "backbone": "resnet18",
        "backbone-weights": "none",
        "fpn-channels": 64,
        "box-head-dim": 256,
        "min-size": 96,
        "max-size": 96,
        "anchor-sizes": (24, 36, 54, 80, 120),
        "canonical-box-size": 224,
        "rpn-pre-nms": 500,
        "rpn-post-nms": 200,
        "rois-per-image": 64,
        "detections-per-image": 20,
        "iterations": 500,
        "images-per-batch": 12,
        "lr": 0.03,
        "steps": (375, 450),
        "warmup-iterations": 50,
        "clip-grad-norm": 10.0,
        "eval-every": 0,
        "checkpoint-every": 100,
        "workers": 0,
    },
    "export-embeddings": {"rois-per-object": 1, "workers": 0},
    "fit-transfer": {"embedding": "cls", "head-width": 64, "epochs": 4.0, "rois-per-batch": 64, "eval-every": 0.0},
    "e2e": {
        "iterations": 400,
        "images-per-batch": 12,
        "lr": 0.01,
        "steps": (270, 360),
        "warmup-iterations": 50,
        "clip-grad-norm": 10.0,
        "eval-every": 0,
        "checkpoint-every": 100,
        "workers": 0,
    },
}
