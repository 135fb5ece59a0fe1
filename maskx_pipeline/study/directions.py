"""Both directions of a split side by side, as in the paper's tables: a line per method, AP on B and on A for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskx_pipeline.study.compared_run import ComparedRun

WORDS = ("method", "training")
SIDES = ("B", "A")  # A: the categories with masks in training, B: those without

_Figures = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Direction:
    """Trained on the masks of A; B is the rest of the categories."""

    name: str
    a_ids: frozenset[int]
    b_ids: frozenset[int]


@dataclass(slots=True)
class MethodRow:
    """One line: a method, and by direction its figures on B and on A in percent; None where nothing was measured."""

    method: str
    training: str
    figures: dict[Direction, dict[str, _Figures]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DirectionTable:
    """The lines, in the order in which their methods were first named."""

    directions: tuple[Direction, Direction]
    rows: tuple[MethodRow, ...]

    def numbers(
        self, row: MethodRow, figures: Sequence[str] = ("AP",), sides: Sequence[str] = SIDES
    ) -> list[float | None]:
        """The figures on B and on A (or one of them) of the first direction, then of the second."""
        return [
            row.figures.get(direction, {}).get(side, {}).get(figure)
            for direction in self.directions
            for side in sides
            for figure in figures
        ]

    def to_json(self, figures: Sequence[str] = ("AP",)) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        names = column_names(figures)
        return [
            {
                "method": row.method,
                "training": row.training,
                "directions": {
                    direction.name: dict(zip(names, numbers, strict=True))
                    for direction, numbers in zip(self.directions, _halves(self.numbers(row, figures)), strict=True)
                },
            }
            for row in self.rows
        ]


def column_names(figures: Sequence[str]) -> list[str]:
    """The columns of a direction: `AP on B`, `AP on A`."""
    return [f"{figure} on {side}" for side in SIDES for figure in figures]


def _halves(numbers: Sequence[float | None]) -> tuple[Sequence[float | None], Sequence[float | None]]:
    middle = len(numbers) // 2
    return numbers[:middle], numbers[middle:]


def both_directions(runs: Sequence[ComparedRun]) -> DirectionTable | None:
    """Pair the runs of the two directions; None if these are not runs of one split of the categories and its reverse.

    A run trained on the masks of all categories (the fully supervised oracle) or of none (a teacher) stands in both
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
            row.figures[direction] = {
                "B": _means(run, direction.b_ids) if both else run.unseen,
                "A": _means(run, direction.a_ids) if both else run.seen,
            }
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


def _means(run: ComparedRun, ids: Collection[int]) -> _Figures:
    """COCO's figures of a category set: means over its categories; those without objects in val do not count."""
    if not run.per_category.keys() >= set(ids):
        return {}  # evaluated on another set: `maskx evaluate --split all` has them
    rows = [run.per_category[id_] for id_ in sorted(ids)]
    return {figure: _mean([row.get(figure) for row in rows]) for figure in rows[0]} if rows else {}


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return sum(measured) / len(measured) if measured else None


def _short(split: str) -> str:
    """The name of a category set as it stands in the names of runs."""
    return Path(split.lstrip("@")).stem
