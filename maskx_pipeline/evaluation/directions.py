"""Both directions of a split side by side, as in Table 1 of the paper: a line per method, AP on B and on A for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskx_pipeline.evaluation.compared_run import ComparedRun

WORDS = ("method", "training")
FIGURES = ("AP on B", "AP on A")  # A: the categories with masks in training, B: those without


@dataclass(frozen=True, slots=True)
class Direction:
    """Trained on the masks of A; B is the rest of the categories."""

    name: str
    a_ids: frozenset[int]
    b_ids: frozenset[int]


@dataclass(slots=True)
class MethodRow:
    """One line: a method, and by direction its mask AP on B and on A in percent; None where nothing was measured."""

    method: str
    training: str
    figures: dict[Direction, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DirectionTable:
    """The lines, in the order in which their methods were first named."""

    directions: tuple[Direction, Direction]
    rows: tuple[MethodRow, ...]

    def numbers(self, row: MethodRow) -> list[float | None]:
        """AP on B and on A of the first direction, then of the second."""
        return [number for direction in self.directions for number in row.figures.get(direction, (None, None))]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        return [
            {
                "method": row.method,
                "training": row.training,
                "directions": {
                    direction.name: dict(zip(FIGURES, row.figures.get(direction, (None, None)), strict=True))
                    for direction in self.directions
                },
            }
            for row in self.rows
        ]


def both_directions(runs: Sequence[ComparedRun]) -> DirectionTable | None:
    """Pair the runs of the two directions; None if these are not runs of one split of the categories and its reverse.

    A run trained on the masks of all categories (the fully supervised oracle) or of none (GrabCut) stands in both
    directions, with its AP on each set.
    """
    names: dict[frozenset[int], str] = {}
    for run in runs:
        if not _of_no_split(run):
            names.setdefault(run.trained, _short(run.split))
    known = {run.known for run in runs}
    if len(names) != 2 or len(known) != 1:
        return None
    (one, other), (name, other_name) = names.keys(), names.values()
    if one & other or one | other not in known:
        return None
    forth = Direction(f"{name} -> {other_name}", one, other)
    back = Direction(f"{other_name} -> {name}", other, one)
    rows: list[MethodRow] = []
    for run in runs:
        both = _of_no_split(run)
        directions = (forth, back) if both else (forth,) if run.trained == one else (back,)
        row = _row_for(rows, run, directions)
        for direction in directions:
            measured = (run.unseen["AP"], run.seen["AP"])
            row.figures[direction] = (
                (_mean_ap(run, direction.b_ids), _mean_ap(run, direction.a_ids)) if both else measured
            )
    return DirectionTable((forth, back), tuple(rows))


def _row_for(rows: list[MethodRow], run: ComparedRun, directions: Collection[Direction]) -> MethodRow:
    """The method's first line where nothing stands yet: a second run of one method gets a line of its own."""
    method = run.run.replace(f"@{_short(run.split)}", "", 1)
    for row in rows:
        same = (row.method, row.training) == (method, run.training)
        if same and not any(direction in row.figures for direction in directions):
            return row
    rows.append(MethodRow(method, run.training))
    return rows[-1]


def _of_no_split(run: ComparedRun) -> bool:
    return run.trained in (run.known, frozenset())


def _mean_ap(run: ComparedRun, ids: Collection[int]) -> float | None:
    """COCO's AP of a category set: the mean over its categories; those without objects in val do not count."""
    if not run.per_category.keys() >= set(ids):
        return None  # evaluated on another set: `maskx evaluate --split all` has them
    measured = [ap for id_ in sorted(ids) if (ap := run.per_category[id_]) is not None]
    return sum(measured) / len(measured) if measured else None


def _short(split: str) -> str:
    """The name of a category set as it stands in the names of runs."""
    return Path(split.lstrip("@")).stem
