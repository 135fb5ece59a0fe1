"""All that changes while training: how it is counted, saved, restored and checked."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.average import WeightAverage
from maskx_pipeline.engine.checkpoint import check_finite, load_state, save_state, save_weights
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.engine.runlog import BEST_FILE, STATE_FILE, Run
from maskx_pipeline.errors import RunError, WeightsError

logger = logging.getLogger("maskx")


class TrainingState:
    """All that changes while training, how it is saved, and what is derived from it.

    Args:
        average: What is measured and written instead of the weights themselves.
        in_parts: Whether the losses are their sums over all processes.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: SGD,
        scaler: torch.amp.GradScaler,
        run: Run,
        average: WeightAverage | None = None,
        *,
        in_parts: bool = False,
    ) -> None:
        self.module, self.optimizer, self.scaler, self.run = module, optimizer, scaler, run
        self.average = average
        self._in_parts = in_parts
        self.step = 0
        self.best: float | None = None
        self.metrics: dict[str, float] = {}
        self._names: list[str] = []
        self._recent: list[Tensor] = []  # losses since the last log line, on the device
        self._window: list[list[float]] = []  # the same, checked and on the host

    def count(self, losses: Mapping[str, Tensor]) -> None:
        self.step += 1
        self._names = list(losses)
        self._recent.append(torch.stack([value.detach().float() for value in losses.values()]))

    def log_losses(self, bar: Progress, *, lr: float) -> None:
        self._check_losses()
        means = dict(zip(self._names, np.mean(self._window, axis=0).tolist(), strict=True))
        self._window.clear()
        total = sum(means.values())
        self.run.log(self.step, **{"lr": lr, **means, "loss": total})
        bar.set(loss=total)

    def evaluate(self, evaluate: Callable[[int], dict[str, float]], best_metric: str, bar: Progress) -> None:
        self._check_losses()
        with self._averaged():
            self._evaluate(evaluate, best_metric, bar)

    def _evaluate(self, evaluate: Callable[[int], dict[str, float]], best_metric: str, bar: Progress) -> None:
        self.module.eval()
        with torch.no_grad():
            self.metrics = evaluate(self.step)
        self.module.train()
        self.run.log(self.step, **self.metrics)
        value = self.metrics[best_metric]
        bar.set(**{best_metric: value})
        logger.info("step %d, in percent: %s", self.step, ", ".join(f"{k} {v:.2f}" for k, v in self.metrics.items()))
        nothing_measured = math.isnan(value) and self.best in (None, -math.inf)
        if nothing_measured and self.best is None:
            logger.warning("%s cannot be measured, so the best weights are the latest.", best_metric)
        if nothing_measured or self.best is None or value > self.best:
            self.best = -math.inf if math.isnan(value) else value
            self._write_weights(BEST_FILE, {best_metric: repr(value)})

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.in_place()

    def save(self) -> None:
        self._check_losses()
        self.run.sync()
        if distributed.is_main():
            state = {
                "step": self.step,
                "best": self.best,
                "metrics": self.metrics,
                "loss_names": self._names,
                "loss_window": self._window,
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
            }
            if self.average is not None:
                state["average"] = self.average.state_dict()
            save_state(self.run.folder / STATE_FILE, state)
        self.run.update(step=self.step)

    def restore(self) -> None:
        path = self.run.folder / STATE_FILE
        if self.run.state != "resume" or not path.is_file():
            self.run.rewind(0)
            return
        state: dict[str, Any] = load_state(path)
        missing, unexpected = self.module.load_state_dict(state["module"], strict=False)
        if unexpected or missing:
            raise WeightsError(
                f"{path} does not fit the model: {', '.join([*unexpected, *missing][:3])}.",
                "give --overwrite to start the run again",
            )
        check_finite(state["module"], what=str(path), hint="give --overwrite to start the run again")
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.best, self.metrics = state["step"], state["best"], state["metrics"]
        self._names, self._window = state["loss_names"], state["loss_window"]
        self.run.rewind(self.step)
        self.run.update(step=self.step)  # which a kill after the state was saved has left behind
        logger.info("%s: resuming at step %d.", self.run.folder, self.step)

    def write_weights(self, file_name: str, metadata: Mapping[str, str]) -> None:
        with self._averaged():
            self._write_weights(file_name, metadata)

    def _write_weights(self, file_name: str, metadata: Mapping[str, str]) -> None:
        hint = "lower --lr, or give --clip-grad-norm 10; then start again with --overwrite"
        check_finite(self.module.state_dict(), what=f"{self.run.folder}: step {self.step}", hint=hint)
        if distributed.is_main():
            save_weights(self.run.folder / file_name, self.module.state_dict(), {"step": str(self.step), **metadata})

    def _check_losses(self) -> None:
        """Fetch the losses of the last steps at once: fetching each would make a GPU wait for every step."""
        if not self._recent:
            return
        recent = torch.stack(self._recent)
        values = (distributed.summed(recent) if self._in_parts else recent).tolist()
        self._recent.clear()
        for step, row in enumerate(values, start=self.step - len(values) + 1):
            for name, value in zip(self._names, row, strict=True):
                if not math.isfinite(value):
                    raise RunError(
                        f"{self.run.folder}: {name} became {value} at step {step}.",
                        "lower --lr, or give --clip-grad-norm 10; then start again with --overwrite",
                    )
        self._window += values
