"""Which fits `maskx tune` makes, one after what the last ones showed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig
from maskx_pipeline.stages.tune_fits import Bench, FoldFigures, FoldFit, run_fits
from maskx_pipeline.study.tuning import AGNOSTIC, DESIGN, TunedDesign, survivors

logger = logging.getLogger("maskx")


@dataclass(frozen=True)
class Rounds:
    """The fits of one cross-validation, side by side as far as they may be.

    Attributes:
        seen: Labels whose masks may be used.
        folder: That of the run; each fit has one in it.
    """

    designs: Mapping[str, TransferConfig]
    seen: frozenset[int]
    folder: Path
    bench: Bench
    data: DataConfig
    masks: MasksConfig
    jobs: int
    devices: Sequence[str]

    def on_folds(self, folds: Sequence[frozenset[int]]) -> tuple[TunedDesign, ...]:
        """All designs on the first fold, the better half on the others."""
        logger.info("%d designs on the first of %d folds, %d at a time.", len(self.designs), len(folds), self.jobs)
        found = self._fit([self._task(name, 0, folds[0], f"{name}@1") for name in self.designs], "fold")
        kept = survivors(self._designs(found))
        logger.info("On the other folds: %s.", ", ".join(kept))
        others = self._fit(
            [
                self._task(name, number, fold, f"{name}@{number + 1}")
                for number, fold in enumerate(folds[1:], start=1)
                for name in kept
            ],
            "fold",
        )
        return self._designs({name: found[name] | others.get(name, {}) for name in found})

    def on_halves(self, name: str, halves: Sequence[frozenset[int]]) -> TunedDesign | None:
        """One design on parts that hide fewer categories; None of no parts."""
        if not halves:
            return None
        logger.info("%s on halves of the folds, to see what more seen categories bring.", name)
        tasks = [self._task(name, number, half, f"{name}@half-{number + 1}") for number, half in enumerate(halves)]
        return self._designs(self._fit(tasks, "half"))[0]

    def _task(self, name: str, number: int, hidden: frozenset[int], folder: str) -> FoldFit:
        return FoldFit(name, number, self.designs[name], self.seen - hidden, hidden, self.folder / folder)

    def _fit(self, tasks: Sequence[FoldFit], part: str) -> dict[str, dict[int, FoldFigures]]:
        found: dict[str, dict[int, FoldFigures]] = {task.design: {} for task in tasks}
        done = run_fits(tasks, self.bench, self.data, self.masks, jobs=self.jobs, devices=self.devices)
        for count, (task, figures) in enumerate(done, start=1):
            found[task.design][task.fold] = figures
            logger.info(
                "[%d/%d] %s without the masks of %s %d: mask IoU %.1f on these categories (%d), %.0f s.",
                count, len(tasks), task.design, part, task.fold + 1,
                TunedDesign("", "", (figures.figures,)).mean(), len(task.hidden), figures.seconds,
            )  # fmt: skip
        return found

    def _designs(self, found: Mapping[str, Mapping[int, FoldFigures]]) -> tuple[TunedDesign, ...]:
        made = []
        for name, figures in found.items():
            kind = AGNOSTIC if self.designs[name].embedding == "none" else DESIGN
            ordered = [figures[number] for number in sorted(figures)]
            seconds = sum(each.seconds for each in ordered)
            made.append(TunedDesign(name, kind, tuple(each.figures for each in ordered), seconds))
        return tuple(made)
