"""The mask IoU at given boxes as figures of category sets and categories: plain values, a table, and a sentence."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskx_pipeline import text
from maskx_pipeline.data.records import Category
from maskx_pipeline.evaluation.box_iou import MODEL, BoxIou, Interval, best_rival, plain


@dataclass(frozen=True, slots=True)
class BoxFiguresRow:
    """A category set or a category.

    Attributes:
        objects: With a mask in val.
        iou: Mean IoU by source.
        minus: By how much the model is above each of the others, on the objects of which both have a mask.
        best: The best of the others, "" where nothing was measured.
    """

    name: str
    objects: int
    iou: Mapping[str, Interval]
    minus: Mapping[str, Interval]
    best: str
    id: int = 0
    seen: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, IoU in percent."""
        return {"objects": self.objects, "iou": plain(self.iou), "minus": plain(self.minus), "best_rival": self.best}


@dataclass(frozen=True, slots=True)
class BoxFigures:
    """What masks at the true boxes of val are worth, beside their rivals.

    Attributes:
        data: What the data are called where they are not val.
        sources: The model first.
        sets: The set asked for, then ``seen`` and ``unseen``.
        categories: Those of the set asked for, by ascending label.
    """

    sources: tuple[str, ...]
    sets: tuple[BoxFiguresRow, ...]
    categories: tuple[BoxFiguresRow, ...]
    data: str = "val"

    def verdicts(self) -> list[str]:
        """A sentence each on seen and unseen categories: who is ahead, and whether by more than chance."""
        return [_verdict(row, self.data) for row in self.sets if row.name in ("seen", "unseen")]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, IoU in percent."""
        return {
            "sets": {row.name: row.to_json() for row in self.sets},
            "categories": [
                {"id": row.id, "name": row.name, "seen": row.seen, **row.to_json()} for row in self.categories
            ],
            "verdicts": self.verdicts(),
        }

    def to_text(self, *, per_category: bool = False) -> str:
        """Tables for the terminal."""
        header = ["masks from", *(f"{row.name}, {row.objects} masks" for row in self.sets)]
        rows = [[source, *(interval_text(row.iou[source]) for row in self.sets)] for source in self.sources]
        lines = [
            f"Mask IoU at the true boxes of {self.data}, percent, with 95 % intervals over images",
            "",
            text.table(header, rows, words=text.first(1, header)),
        ]
        if per_category:
            lines += ["", self._categories()]
        return "\n".join(lines)

    def _categories(self) -> str:
        header = ["category", "", "masks", "model IoU", "best rival", "", "model minus rival"]
        ordered = sorted(self.categories, key=lambda row: (not row.seen, row.id))
        rows = [
            [
                row.name,
                "seen" if row.seen else "unseen",
                str(row.objects),
                text.number_text(row.iou[MODEL].mean),
                row.best or "-",
                text.number_text(row.iou[row.best].mean) if row.best else "-",
                interval_text(row.minus[row.best], sign="+") if row.best else "-",
            ]
            for row in ordered
        ]
        return text.table(header, rows, words=[True, True, False, False, True, False, False])


def figures_of_sets(
    box_iou: BoxIou,
    *,
    split: str,
    labels: Collection[int],
    seen: Collection[int],
    categories: Collection[Category],
    data: str = "val",
) -> BoxFigures:
    """Count what was measured, on the set asked for and on seen and unseen categories.

    Args:
        box_iou: Its first source is :data:`MODEL`.
        split: The name of the set asked for, and ``labels`` its labels.
        seen: Labels whose masks were used in training.
        data: What the data are called.
    """
    unseen = {category.label for category in categories} - set(seen)
    return BoxFigures(
        sources=tuple(box_iou.ious),
        sets=tuple(_row(box_iou, name, of) for name, of in {split: labels, "seen": seen, "unseen": unseen}.items()),
        categories=tuple(
            _row(box_iou, category.name, [category.label], id_=category.id, seen=category.label in seen)
            for category in categories
            if category.label in labels
        ),
        data=data,
    )


def interval_text(interval: Interval, *, sign: str = "") -> str:
    """``68.9 (67.2 to 70.4)``; a dash where nothing was measured, the mean alone where images are too few."""
    if math.isnan(interval.mean):
        return "-"
    return f"{interval.mean:{sign}.1f}{bounds_text(interval, sign=sign)}"


def bounds_text(interval: Interval, *, sign: str = "+") -> str:
    """`` (+2.0 to +4.8)``, to follow a figure; nothing where images are too few for an interval."""
    return "" if math.isnan(interval.low) else f" ({interval.low:{sign}.1f} to {interval.high:{sign}.1f})"


def _row(box_iou: BoxIou, name: str, labels: Collection[int], *, id_: int = 0, seen: bool = False) -> BoxFiguresRow:
    chosen = box_iou.of_labels(frozenset(labels))
    model, *rivals = box_iou.ious
    return BoxFiguresRow(
        name=name,
        objects=int(np.count_nonzero(chosen)),
        iou={source: box_iou.mean(source, chosen) for source in box_iou.ious},
        minus={rival: box_iou.difference(model, rival, chosen) for rival in rivals},
        best=best_rival(box_iou, model, rivals, chosen),
        id=id_,
        seen=seen,
    )


def _verdict(row: BoxFiguresRow, data: str) -> str:
    kind = f"{row.name.capitalize()} categories"
    if not row.best:
        return f"{kind}: {data} has no mask of one, so how good their masks are is not known."
    gap, model, rival = row.minus[row.best], row.iou[MODEL].mean, row.iou[row.best].mean
    if not gap.is_certain:
        levels = f"{model:.1f} and {rival:.1f} IoU{bounds_text(gap)}"
        return f"{kind}: {MODEL} and {row.best} are level within chance, {levels}."
    if gap.mean > 0:
        means = f"{model:.1f} to {rival:.1f} IoU{bounds_text(gap)}"
        return f"{kind}: {MODEL} is ahead of {row.best} by more than chance, {means}."
    means = f"{rival:.1f} to {model:.1f} IoU{bounds_text(Interval(-gap.mean, -gap.high, -gap.low))}"
    return f"{kind}: {row.best} is AHEAD of {MODEL} by more than chance, {means}."
