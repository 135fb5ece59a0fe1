"""The model for other programs."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config.evaluation import ModelConfig
from maskx_pipeline.settings import option, settings


@settings
class ExportModelConfig(ModelConfig):
    """A file of the model that works without maskx, with w_seg = T(w_det) computed once and for all."""

    table = "export-model"
    format: str = option(
        "torchvision",
        "torchvision: a state dict of its Mask R-CNN; onnx: the mask head alone, RoI features and labels to masks; "
        "onnx-whole: the whole model, an image to boxes, labels, scores and masks.",
        choices=("torchvision", "onnx", "onnx-whole"),
    )
    out: Path | None = option(
        None,
        "File to write: .safetensors or .pth, or .onnx; by default model.safetensors, mask-head.onnx or "
        "model.onnx in RUNS/exported. A .json beside it says how to use it.",
    )
