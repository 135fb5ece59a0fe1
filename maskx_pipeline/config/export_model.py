"""The model for other programs."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.settings import StageConfig, option, settings


@settings
class ExportModelConfig(StageConfig):
    """A file of the model that works without maskx, with w_seg = T(w_det) computed once and for all."""

    table = "export-model"
    model: Path | None = option(None, "Run folder of a transfer or joint model; the newest of --runs if not given.")
    runs: Path = option(Path("runs"), "Folder in which the newest model is looked for.")
    checkpoint: str = option(  # known by the weights
        "best", "Which weights of that run.", choices=("best", "last"), identity=False
    )
    format: str = option(
        "torchvision",
        "torchvision: a state dict of its Mask R-CNN; onnx: the mask head alone, RoI features and labels to masks.",
        choices=("torchvision", "onnx"),
    )
    out: Path | None = option(
        None,
        "File to write: .safetensors or .pth, or .onnx; by default model.safetensors or mask-head.onnx in "
        "RUNS/exported. A .json beside it says how to use it.",
    )
