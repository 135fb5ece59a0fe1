"""What a cross-validation over categories found, and what follows from it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from maskx_pipeline.evaluation.expectation import Expectation, Range, expect, range_of_mean
from maskx_pipeline.study.likeness import Likeness
from maskx_pipeline.study.trend import carried_on

DESIGN, AGNOSTIC, SHAPE = "T", "agnostic", "shape"


class CategoryFigures(NamedTuple):
    """Of one category, in percent; NaN where val has nothing to measure."""

    iou: float
    ap: float


@dataclass(frozen=True, slots=True)
class TunedDesign:
    """A design, or a shape in the box, on categories whose masks were hidden from it.

    Attributes:
        kind: ``T``, ``agnostic``, or ``shape``, which is not fitted.
        folds: For each fold that it was tried on, in order, the figures by category id.
        seconds: Of all its fits.
    """

    name: str
    kind: str
    folds: tuple[Mapping[int, CategoryFigures], ...]
    seconds: float = 0.0

    def values(self, figure: str = "iou") -> dict[int, float]:
        """By id of the categories that could be measured."""
        found = {id_: getattr(row, figure) for fold in self.folds for id_, row in fold.items()}
        return {id_: value for id_, value in found.items() if not math.isnan(value)}

    def mean(self, figure: str = "iou") -> float:
        """The mean over categories, whatever fold they are in."""
        return _mean(self.values(figure).values())

    def of_folds(self) -> list[float]:
        """Mask IoU of each fold that could be measured, the mean of its categories."""
        means = (_mean([row.iou for row in fold.values() if not math.isnan(row.iou)]) for fold in self.folds)
        return [mean for mean in means if not math.isnan(mean)]


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of `maskx tune`.

    Attributes:
        folds: The ids of the categories that were hidden together.
        names: By id.
        unseen: How many categories the expectation is for.
        designs: In the order in which they were given.
        shapes: What needs no model, on all seen categories.
        halved: The best design again, on halves of the folds; None where no fold has two categories.
        likeness: How near the unseen categories are to the seen ones; None where that is not known.
        run: The run folder of the best, fitted on all seen categories; empty where it was not.
    """

    folds: tuple[tuple[int, ...], ...]
    names: Mapping[int, str]
    unseen: int
    designs: tuple[TunedDesign, ...]
    shapes: tuple[TunedDesign, ...]
    halved: TunedDesign | None = None
    likeness: Likeness | None = None
    run: str = ""

    @property
    def categories(self) -> tuple[int, ...]:
        """The ids of all seen categories."""
        return tuple(id_ for fold in self.folds for id_ in fold)

    def whole(self) -> tuple[TunedDesign, ...]:
        """The designs that were tried on every fold."""
        return tuple(design for design in self.designs if len(design.folds) == len(self.folds))

    def best(self) -> TunedDesign:
        """Of the highest mean mask IoU over all categories; the first of equals."""
        return highest(self.whole())

    def agnostic(self) -> TunedDesign | None:
        """The best class-agnostic design."""
        found = [design for design in self.whole() if design.kind == AGNOSTIC]
        return highest(found) if found else None

    def shape(self) -> TunedDesign:
        """The better of the shapes in the box."""
        return highest(self.shapes)

    def expectation(self) -> Expectation:
        """Of the best design, fitted to all seen categories, on unseen ones."""
        values = [list(self._of_all_seen(figure).values()) for figure in ("iou", "ap")]
        return expect(*values, unseen=self.unseen)

    def _of_all_seen(self, figure: str) -> dict[int, float]:
        """Of each hidden category what the best design would have, were it fitted to all the seen ones."""
        coarse = self.best().values(figure)
        if self.halved is None:
            return coarse
        sizes = [{id_: len(part) for part in parts for id_ in part} for parts in (self.folds, self.halved.folds)]
        hidden = {id_: (sizes[0][id_], sizes[1][id_]) for id_ in coarse}
        return carried_on(coarse, self.halved.values(figure), hidden=hidden)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; figures in percent, None where there is nothing to measure."""
        best = self.best()
        return {
            "best": best.name,
            "run": self.run,
            "expected": self.expectation().to_json(),
            "folds": [list(fold) for fold in self.folds],
            "names": {str(id_): self.names[id_] for id_ in self.categories},
            "unseen": self.unseen,
            "designs": [_to_json(design) for design in self.designs],
            "shapes": [_to_json(shape) for shape in self.shapes],
            "halved": None if self.halved is None else _to_json(self.halved),
            "likeness": None if self.likeness is None else self.likeness.to_json(),
        }

    def summary(self) -> list[dict[str, Any]]:
        """Of each design and shape, mask IoU over all categories and of each fold, for a plot."""
        rows = sorted((*self.designs, *self.shapes), key=lambda row: -row.mean() if row.mean() >= 0 else 0.0)
        return [
            {"name": row.name, "kind": row.kind, "mask_iou": row.mean(), "mask_iou_of_folds": row.of_folds()}
            for row in rows
        ]


def read_tuning(content: Mapping[str, Any]) -> Tuning:
    """From JSON, as :meth:`Tuning.to_json` gives it."""
    return Tuning(
        folds=tuple(map(tuple, content["folds"])),
        names={int(id_): name for id_, name in content["names"].items()},
        unseen=content["unseen"],
        designs=tuple(map(_from_json, content["designs"])),
        shapes=tuple(map(_from_json, content["shapes"])),
        halved=None if content["halved"] is None else _from_json(content["halved"]),
        likeness=None if content["likeness"] is None else Likeness(**content["likeness"]),
        run=content["run"],
    )


def highest(designs: Sequence[TunedDesign]) -> TunedDesign:
    """By mean mask IoU; the first of equals."""
    return max(designs, key=lambda design: -1.0 if math.isnan(mean := design.mean()) else mean)


def survivors(designs: Sequence[TunedDesign]) -> list[str]:
    """The names of those that go on after the first fold: the better half, rounded up, and the best class-agnostic one.

    That one always does, since the others are measured by it.
    """
    ranked = sorted(designs, key=lambda design: -(0.0 if math.isnan(mean := design.mean()) else mean))
    kept = {design.name for design in ranked[: (len(ranked) + 1) // 2]}
    kept |= {design.name for design in [d for d in ranked if d.kind == AGNOSTIC][:1]}
    return [design.name for design in designs if design.name in kept]


def difference(one: TunedDesign, other: TunedDesign) -> Range:
    """Mask IoU of one minus that of the other, on the categories that both were measured on, paired."""
    mine, theirs = one.values(), other.values()
    return range_of_mean([mine[id_] - theirs[id_] for id_ in mine if id_ in theirs])


def spread(design: TunedDesign) -> float:
    """The standard deviation of mask IoU over folds; NaN of one fold."""
    means = design.of_folds()
    return statistics.stdev(means) if len(means) > 1 else float("nan")


def _mean(values: Any) -> float:
    found = list(values)
    return math.fsum(found) / len(found) if found else float("nan")


def _to_json(design: TunedDesign) -> dict[str, Any]:
    means = {figure: design.mean(figure) for figure in ("iou", "ap")}
    return {
        "name": design.name,
        "kind": design.kind,
        "seconds": round(design.seconds, 1),
        "mask_iou": means["iou"],
        "mask_ap": means["ap"],
        "mask_iou_of_folds": design.of_folds(),
        "folds": [
            {str(id_): {"mask_iou": row.iou, "mask_ap": row.ap} for id_, row in fold.items()} for fold in design.folds
        ],
    }


def _from_json(content: Mapping[str, Any]) -> TunedDesign:
    def number(value: float | None) -> float:
        return float("nan") if value is None else value

    return TunedDesign(
        name=content["name"],
        kind=content["kind"],
        folds=tuple(
            {int(id_): CategoryFigures(number(row["mask_iou"]), number(row["mask_ap"])) for id_, row in fold.items()}
            for fold in content["folds"]
        ),
        seconds=content["seconds"],
    )
