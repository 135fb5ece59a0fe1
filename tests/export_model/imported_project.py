"""A project whose detector is a torchvision model with random weights, through the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import tiny_project
import torch
from e2e_world import seen_file, write_data
from tiny_project import Done
from torchvision.models.detection import FasterRCNN
from torchvision_models import SIZE, calibrate, tiny_faster_rcnn

from maskx_pipeline.data.images import read_image
from maskx_pipeline.engine.checkpoint import load_weights, save_weights
from maskx_pipeline.project import write_project

T = "cls+box-rbf+boxes"
"""The run with T."""

NAMES = ("cow", "zebra", "cat", "dog")
"""What the detector knows; the data set has no zebra."""


@dataclass(frozen=True)
class ImportedProject:
    """The folder of the project, and the torchvision model that its detector was."""

    folder: Path
    original: FasterRCNN

    @property
    def photo(self) -> Path:
        return self.folder / "data" / "0.png"


def maskx(project: Path, *arguments: str, code: int = 0) -> Done:
    """Run a command in the project folder; its stdout and stderr. A training is not measured, which takes longest."""
    with (
        mock.patch("maskx_pipeline.stages.fit_transfer.quick_metrics", return_value={"seen_mask_ap": 0.0}),
        mock.patch("maskx_pipeline.stages.e2e.e2e_metrics", return_value={"seen_mask_ap": 0.0}),
    ):
        return tiny_project.maskx(project, *arguments, code=code)


def make_project(folder: Path) -> ImportedProject:
    """Import, export, and fit: T of both kernels, class-agnostic, class-specific, with the MLP or coordinates."""
    data = write_data(folder / "data")
    seen_file(folder)
    tables = {
        "data": data.to_mapping(),
        "detect-import": {"weights": "own.pth", "names": "names.txt", "min-size": SIZE, "max-size": 2 * SIZE},
        "evaluate": {"from": "cache"},
        "export-embeddings": {"rois-per-object": 1, "workers": 0, "amp": "off"},
        "e2e": {
            "init": "runs/detector", "iterations": 1, "images-per-batch": 2, "eval-every": 0, "workers": 0,
            "lr": 0.0001, "amp": "off", "device": "cpu", "split": "@seen.txt",
        },
        "fit-transfer": {
            "head-width": 8, "head-depth": 2, "components": 2, "epochs": 1.0, "rois-per-batch": 4,
            "amp": "off", "device": "cpu", "split": "@seen.txt", "coordinates": False,
        },
    }  # fmt: skip
    write_project(folder, tables)
    original = tiny_faster_rcnn(len(NAMES) + 1)
    calibrate(original, [read_image(folder / "data" / f"{number}.png") / 255 for number in (0, 1)])
    torch.save(original.state_dict(), folder / "own.pth")
    (folder / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    maskx(folder, "detect", "import")
    maskx(folder, "export-embeddings")
    for name, *options in (
        (T, "--embedding", "cls+box"),
        ("linear", "--embedding", "cls", "--form", "linear"),
        ("agnostic", "--embedding", "none"),
        ("oracle", "--embedding", "none", "--class-specific"),
        ("mlp", "--embedding", "cls", "--mask-branch", "fcn+mlp"),
        ("coordinates", "--embedding", "cls", "--coordinates"),
    ):
        maskx(folder, "fit-transfer", "--name", name, *options)
        have_masks(folder / "runs/transfer" / name / "best.safetensors")
    return ImportedProject(folder, original)


def have_masks(path: Path) -> None:
    """Give a mask model that was hardly trained kernels and biases with which masks are neither empty nor full."""
    generator = torch.Generator().manual_seed(0)
    tensors = load_weights(path)
    for name, value in tensors.items():
        if name.startswith("predictor.") and not name.startswith("predictor.embedding.") and value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator))
            if value.numel() > 3:
                value -= value.mean()
            else:
                value *= 0.1
    save_weights(path, tensors, {})
