"""A tiny project on the device, and the command line in this process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import tiny_project
import torch
from tiny_project import TRAINED, shapes_of, write_settings
from torch import Tensor

from maskx_pipeline.engine import loop
from maskx_pipeline.engine.checkpoint import load_weights

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
"""`cpu` rehearses the tests where there is no GPU."""

AMPS = ("off", "bf16", "fp16") if DEVICE == "cuda" else ("off", "bf16")
CHECKOUT = Path(__file__).parents[2]
SETTINGS = {
    "detect": TRAINED | {
        "fpn-channels": 32, "min-size": 96, "max-size": 96, "anchor-sizes": [8, 16, 32, 64, 96], "eval-every": 0,
        "checkpoint-every": 4, "workers": 2,
    },
    "export-embeddings": {"rois-per-object": 1, "colours": True, "workers": 2},
    "fit-transfer": {
        "embedding": "cls", "head-width": 32, "head-depth": 2, "components": 4, "epochs": 2.0, "eval-every": 0.0,
        "rois-per-batch": 8, "checkpoint-every": 4,
    },
    "e2e": {
        "iterations": 6, "images-per-batch": 4, "lr": 0.01, "warmup-iterations": 2, "steps": [5],
        "clip-grad-norm": 5.0, "eval-every": 0, "checkpoint-every": 2, "workers": 2,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A command that has run: what it printed, its seconds, and the most bytes that it had of the GPU's memory."""

    stdout: str
    stderr: str
    seconds: float
    peak: int

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s, {self.peak / 2**20:.0f} MiB of the GPU"


def maskx(project: Path, *words: str, code: int = 0) -> Done:
    """Run a command in this process, as from the project folder."""
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    printed = tiny_project.maskx(project, *words, code=code)
    peak = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else 0
    return Done(*printed, time.perf_counter() - began, peak)


def make_project(folder: Path) -> Path:
    """Generated images of 96 pixels, half of the categories with masks; a detector and its cache, with colours."""
    folder.mkdir(parents=True)
    maskx(folder, "init", *shapes_of(train=24, val=8, size=96))
    write_settings(folder, SETTINGS)
    maskx(folder, "detect", "train")
    maskx(folder, "export-embeddings")
    return folder


@contextlib.contextmanager
def interrupted_at(step: int) -> Iterator[None]:
    """Ctrl-C in the middle of a step of a training."""
    seed_step = loop.seed_step

    def and_interrupt(seed: int, number: int, **options: int | None) -> None:
        seed_step(seed, number, **options)
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)

    with mock.patch.object(loop, "seed_step", and_interrupt):
        yield


def difference(first: Path, second: Path) -> float:
    """The largest difference of two weights files, relative to the largest weight of the tensor; 0: the same bits."""
    one, other = load_weights(first), load_weights(second)
    assert one.keys() == other.keys()
    return max((_difference(one[name], other[name]) for name in one), default=0.0)


def _difference(one: Tensor, other: Tensor) -> float:
    if torch.equal(one, other):
        return 0.0
    return float((one.double() - other.double()).abs().max() / one.double().abs().max().clamp(min=1e-12))


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors, relative to the largest entry of the second."""
    difference = (found.detach().double().cpu() - expected.detach().double().cpu()).abs().max()
    return float(difference / expected.detach().double().abs().max().cpu().clamp(min=1e-12))
