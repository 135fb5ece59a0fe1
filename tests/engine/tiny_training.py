"""A tiny training run, as a program that a test can kill: python tiny_training.py FOLDER [KILL_AT [SIGNAL [RANK]]]."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.loop import run_loop, seed_step
from maskx_pipeline.engine.runlog import Run, open_run
from maskx_pipeline.engine.schedule import Schedule

ITERATIONS = 57


CONSTANT = Schedule(
    iterations=50,
    lr=0.1,
    momentum=0.9,
    weight_decay=0.0,
    bias_lr_factor=1.0,
    warmup_iterations=0,
    warmup_factor=1.0,
    drops=(),
    gamma=0.1,
    clip_grad_norm=0.0,
)
"""A schedule in which nothing happens; a test changes what it is about."""


def weights_metadata(path: Path) -> dict[str, str]:
    """What `save_weights` wrote beside the tensors."""
    with safe_open(path, framework="pt") as stream:
        metadata = dict(json.loads(stream.metadata()["maskx"]))
        assert metadata.pop("seal").startswith("maskx-sha256:")
        return metadata


def tiny_module() -> nn.Module:
    """Everything that could carry a state from step to step: dropout, batch statistics, momentum."""
    seed_step(3, -1)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))


def train(
    folder: Path,
    *,
    kill_at: int = -1,
    number: int = signal.SIGKILL,
    rank: int = 0,
    lr: float = 0.05,
    amp_dtype: torch.dtype | None = None,
    tensorboard: bool = False,
    ema: float = 0.0,
    parts: int = 1,
) -> Run:
    """Train in ``folder``; the process ``rank`` sends itself a signal before step ``kill_at``."""
    run = open_run(folder, stage="detect", identity={}, config={}, inputs={}, tensorboard=tensorboard)
    module = tiny_module()

    def loss_at(step: int) -> dict[str, Tensor]:
        if step == kill_at and distributed.rank() == rank:
            os.kill(os.getpid(), number)
        x = torch.randn(16, 6)
        return {"fit": (module(x)[:, 0] - x.sum(1)).square().mean(), "small": module(x).square().mean() * 0.01}

    def evaluate(step: int) -> dict[str, float]:
        torch.rand(5)  # an evaluation may use random numbers, and must not change the training by it
        return {"ap": -abs(step - 30.0) + float(module[0].weight.sum()) * 1e-3}

    metrics = run_loop(
        module=module,
        schedule=dataclasses.replace(
            CONSTANT,
            iterations=ITERATIONS,
            lr=lr,
            weight_decay=1e-4,
            bias_lr_factor=2.0,
            warmup_iterations=5,
            warmup_factor=0.1,
            drops=(40,),
            clip_grad_norm=10.0,
        ),
        loss_at=loss_at,
        run=run,
        seed=3,
        amp_dtype=amp_dtype,
        device=torch.device("cpu"),
        checkpoint_every=7,
        evaluate=evaluate,
        evaluate_every=10,
        best_metric="ap",
        desc="tiny",
        ema=ema,
        parts=parts,
    )
    run.finish(**metrics)
    return run


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[2:]]
    train(Path(sys.argv[1]), **dict(zip(("kill_at", "number", "rank"), arguments, strict=False)))
