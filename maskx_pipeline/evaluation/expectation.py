"""What to expect of a model on unseen categories, as `maskx tune` found it by hiding the masks of seen ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskx_pipeline.provenance.files import json_value, write_json
from maskx_pipeline.provenance.run_folder import RUN_FILE, read_run
from maskx_pipeline.text import number_text

LEVEL = 0.95
LEAST_CATEGORIES = 5
"""From fewer categories no interval is made: their spread says too little of that of others."""

_DRAWS = 4000
_CELLS = 20_000_000
_KEY = "expected"


@dataclass(frozen=True, slots=True)
class Range:
    """A mean over categories, and an interval around it; None where too few categories were measured for one."""

    mean: float
    low: float | None = None
    high: float | None = None

    def to_text(self) -> str:
        """``66.1 (60.2 to 71.9)``."""
        if self.low is None or self.high is None:
            return number_text(self.mean)
        return f"{number_text(self.mean)} ({number_text(self.low)} to {number_text(self.high)})"


@dataclass(frozen=True, slots=True)
class Expectation:
    """The figures to expect on unseen categories, in percent, each a mean over categories.

    Attributes:
        mask_iou: At the true boxes.
        mask_ap: Of the detections.
        hidden: How many categories were measured with their masks hidden.
        unseen: Of the mean over how many categories the interval is.
    """

    mask_iou: Range
    mask_ap: Range
    hidden: int
    unseen: int
    level: float = LEVEL

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; None for what could not be measured."""
        values: dict[str, Any] = json_value(asdict(self))
        return values

    def to_text(self) -> str:
        """A line for the terminal."""
        return (
            f"Expected on unseen categories, by `maskx tune` ({self.hidden} categories whose masks were hidden): mask "
            f"IoU {self.mask_iou.to_text()}, mask AP {self.mask_ap.to_text()}; means of categories."
        )


def expect(
    mask_iou: Sequence[float], mask_ap: Sequence[float], *, unseen: int, level: float = LEVEL, seed: int = 0
) -> Expectation:
    """What to expect on new categories, from figures of categories that were hidden; NaN is a missing one."""
    figures = [[value for value in values if not math.isnan(value)] for values in (mask_iou, mask_ap)]
    ranges = [_percent(range_of_mean(values, of=max(1, unseen), level=level, seed=seed)) for values in figures]
    return Expectation(ranges[0], ranges[1], hidden=len(figures[0]), unseen=unseen, level=level)


def range_of_mean(
    values: Sequence[float],
    *,
    of: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
    least: int = LEAST_CATEGORIES,
) -> Range:
    """The mean of some categories, and a bootstrap interval over categories.

    Args:
        values: One for each category measured.
        of: The interval is that of the mean over so many new categories, which is wider than that of the mean over all
            there might be, None: it holds the chance in which categories were measured, and in which are to come.
        least: From fewer values no interval is made.
    """
    count = len(values)
    if count == 0:
        return Range(float("nan"))
    mean = math.fsum(values) / count
    if count < max(2, least):
        return Range(mean)
    around = np.asarray(values, dtype=np.float64) - mean
    generator = np.random.default_rng(seed)
    draws = max(200, min(_DRAWS, _CELLS // max(count, of or 0)))
    drawn = around[generator.integers(count, size=(draws, count))].mean(axis=1)
    if of is not None:
        drawn += around[generator.integers(count, size=(draws, of))].mean(axis=1)
    widen = math.sqrt(count / (count - 1))  # n values vary by (n - 1) / n of what those vary by that they come from
    low, high = mean + widen * np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Range(mean, float(low), float(high))


def _percent(found: Range) -> Range:
    """Cut off where no figure can be."""
    if found.low is None or found.high is None:
        return found
    return Range(found.mean, max(found.low, 0.0), min(found.high, 100.0))


def record_expectation(folder: Path, expectation: Expectation, *, beside: Sequence[Mapping[str, Any]] = ()) -> None:
    """Note in the run.json of a finished run what to expect of its weights ``best``.

    Args:
        beside: The designs that it was chosen from, for a report; under ``chosen_from``.
    """
    content = read_run(folder)
    wanted = {**content, _KEY: expectation.to_json(), "chosen_from": json_value(list(beside))}
    if content != wanted:
        write_json(folder / RUN_FILE, wanted)


def expectation_of(noted: Mapping[str, Any] | None) -> Expectation | None:
    """From JSON, as :meth:`Expectation.to_json` gives it; None where nothing was noted."""
    if noted is None:
        return None
    iou, ap = (
        Range(
            float("nan") if noted[name]["mean"] is None else noted[name]["mean"],
            noted[name]["low"],
            noted[name]["high"],
        )
        for name in ("mask_iou", "mask_ap")
    )
    return Expectation(iou, ap, hidden=noted["hidden"], unseen=noted["unseen"], level=noted["level"])
