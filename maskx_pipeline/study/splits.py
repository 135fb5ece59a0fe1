"""Figure 3 of the paper: what T gains over the baseline on many splits, against the masks there are to learn from."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline import text
from maskx_pipeline.errors import RunError
from maskx_pipeline.study.compared_run import ComparedRun, check_evaluated, read_compared_run
from maskx_pipeline.text import number_text

_WORDS = ("split", "model")


@dataclass(frozen=True, slots=True)
class SplitPoint:
    """A model with T beside the baseline trained on the masks of the same categories.

    Attributes:
        masks: Mean number of training objects with a mask, per category of the set.
        baseline, transfer: Mask AP on the unseen categories, in percent; None where nothing was measured.
    """

    split: str
    model: str
    seen: int
    masks: float
    baseline: float | None
    transfer: float | None

    @property
    def change(self) -> float | None:
        """Relative change of the AP in percent; None where there is no AP, or nothing to be relative to."""
        if self.baseline is None or self.transfer is None or self.baseline <= 0:
            return None
        return 100 * (self.transfer / self.baseline - 1)


@dataclass(frozen=True, slots=True)
class SplitStudy:
    """The points, by size of the set and then in the order asked for."""

    points: tuple[SplitPoint, ...]

    def by_size(self) -> dict[int, list[SplitPoint]]:
        """The points that have a change, by size of the set, smallest first."""
        sizes: dict[int, list[SplitPoint]] = {}
        for point in self.points:
            if point.change is not None:
                sizes.setdefault(point.seen, []).append(point)
        return sizes

    def means(self) -> dict[int, float]:
        """The mean change in percent of each size."""
        return {
            size: statistics.fmean(point.change for point in points if point.change is not None)
            for size, points in self.by_size().items()
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; AP and changes in percent."""
        counts = {size: len(points) for size, points in self.by_size().items()}
        return {
            "points": [
                {
                    "split": point.split,
                    "model": point.model,
                    "seen": point.seen,
                    "masks per category": point.masks,
                    "baseline AP": point.baseline,
                    "transfer AP": point.transfer,
                    "change": point.change,
                }
                for point in self.points
            ],
            "means": [
                {"seen": size, "splits": counts[size], "change": change} for size, change in self.means().items()
            ],
        }

    def to_text(self) -> str:
        """A line per point, and the mean of each size."""
        header = [*_WORDS, "seen", "masks/category", "baseline AP", "transfer AP", "change %"]
        rows = [
            [point.split, point.model, str(point.seen), f"{point.masks:.0f}", number_text(point.baseline),
             number_text(point.transfer), _signed(point.change)]
            for point in self.points
        ]  # fmt: skip
        sizes = self.by_size()
        means = [
            [str(size), str(len(sizes[size])), f"{change:+.1f}", _spread(sizes[size])]
            for size, change in self.means().items()
        ]
        table = text.table(header, rows, words=text.first(len(_WORDS), header))
        if not means:
            return table
        return f"{table}\n\n{text.table(['seen', 'splits', 'mean change %', 'std'], means, words=[False] * 4)}"


def read_splits(folders: Iterable[Path]) -> SplitStudy:
    """Pair each model with T with the baseline of its split, from what the runs recorded.

    Args:
        folders: Run folders of ``maskx fit-transfer`` or ``maskx e2e``, evaluated, in any order.

    Raises:
        RunError: A folder is no such run, was not evaluated, has no partner or a double on its split, or did not
            record how many masks it was trained on.
    """
    folders = list(folders)
    check_evaluated(folders)
    pairs: dict[tuple[object, ...], dict[str, tuple[Path, ComparedRun]]] = {}
    for folder in folders:
        run = read_compared_run(folder)
        if run.embedding == "-" or run.class_specific or not run.trained < run.known:
            raise RunError(
                f"{folder} is neither the class-agnostic baseline nor a model with T that was trained on a part of the "
                "categories.",
                "leave it out",
            )
        pair = pairs.setdefault((run.trained, run.known, run.training), {})
        role = "baseline" if run.embedding == "none" else "transfer"
        if role in pair:
            raise RunError(
                f"{folder} and {pair[role][0]} are both the {role} of one split ({run.split}).",
                "give one baseline and one model with T for each split",
            )
        pair[role] = (folder, run)
    points = [_point(pair) for pair in pairs.values()]
    return SplitStudy(tuple(sorted(points, key=lambda point: point.seen)))


def _point(pair: dict[str, tuple[Path, ComparedRun]]) -> SplitPoint:
    folder, run = pair.get("transfer") or pair["baseline"]
    if "baseline" not in pair:
        raise RunError(
            f"{folder} has no baseline among these runs, trained on the masks of the same categories ({run.split}).",
            f"fit it with `maskx fit-transfer --embedding none --split {run.split}`, evaluate it, and give it too",
        )
    if "transfer" not in pair:
        raise RunError(
            f"{folder} is a baseline, and no model with T among these runs was trained on the masks of the same "
            f"categories ({run.split}).",
            "give one too, or leave the baseline out",
        )
    if not run.masks:
        raise RunError(
            f"{folder} did not record how many masks it was trained on, as an earlier version of maskx wrote it.",
            "give the command that made it again: a finished run only adds that",
        )
    return SplitPoint(
        split=run.split,
        model=run.run,
        seen=len(run.trained),
        masks=statistics.fmean(run.masks.values()),
        baseline=pair["baseline"][1].unseen["AP"],
        transfer=run.unseen["AP"],
    )


def _signed(number: float | None) -> str:
    return "-" if number is None else f"{number:+.1f}"


def _spread(points: Sequence[SplitPoint]) -> str:
    changes = [point.change for point in points if point.change is not None]
    return number_text(statistics.stdev(changes) if len(changes) > 1 else None)
