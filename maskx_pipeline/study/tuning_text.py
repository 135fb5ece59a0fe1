"""What `maskx tune` prints: a table of designs, and in sentences what it means and what it cannot know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from maskx_pipeline.errors import listed
from maskx_pipeline.evaluation.expectation import LEAST_CATEGORIES, Range
from maskx_pipeline.provenance.files import json_value
from maskx_pipeline.study.likeness import Likeness
from maskx_pipeline.study.tuning import SHAPE, TunedDesign, Tuning, difference, spread
from maskx_pipeline.text import first, number_text, table

_NAMED = 8


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What the command prints."""

    tuning: Tuning

    def to_json(self) -> dict[str, Any]:
        """The figures, and under ``says`` the sentences."""
        return {**json_value(self.tuning.to_json()), "says": sentences(self.tuning)}

    def to_text(self) -> str:
        """A table and sentences for the terminal."""
        return text_of_tuning(self.tuning)


def text_of_tuning(tuning: Tuning) -> str:
    """The table, by falling mask IoU, and the sentences."""
    whole = sorted((*tuning.whole(), *tuning.shapes), key=lambda design: -_or_zero(design.mean()))
    stopped = [design for design in tuning.designs if len(design.folds) < len(tuning.folds)]
    reference = tuning.agnostic()
    header = ["masks from", "folds", "IoU", "worst fold", "best fold", "spread", "minus agnostic", "AP"]
    rows = [_row(design, reference) for design in (*whole, *sorted(stopped, key=lambda d: -_or_zero(d.mean())))]
    return "\n".join(
        [
            f"The masks of {len(tuning.categories)} seen categories were hidden, in {len(tuning.folds)} folds. Of "
            "these, mask IoU at the",
            "true boxes and mask AP of the detections, percent, means of categories:",
            "",
            table(header, rows, words=first(1, header)),
            "",
            *sentences(tuning),
        ]
    )


def sentences(tuning: Tuning) -> list[str]:
    """What is best, by what it is ahead, what to expect, and what is not known."""
    best, agnostic, shape = tuning.best(), tuning.agnostic(), tuning.shape()
    said = []
    if stopped := [design.name for design in tuning.designs if len(design.folds) < len(tuning.folds)]:
        said.append(f"Stopped after the first fold, where they were in the worse half: {listed(stopped, _NAMED)}.")
    said.append(f"Best: {best.name}, of the highest mean.")
    if agnostic is best:
        said.append("No design with T is ahead of it: nothing here beats a class-agnostic mask head.")
    elif agnostic is not None:
        said.append(_ahead(difference(best, agnostic), f"the class-agnostic {agnostic.name}"))
    over_shape = difference(best, shape)
    if over_shape.mean <= 0:
        said.append(
            f"Nothing here beats the {shape.name}: it has {number_text(shape.mean())} and needs no model; the best "
            f"design is {over_shape.mean:+.1f}. Train longer, or draw masks for more categories."
        )
    else:
        said.append(_ahead(over_shape, f"the {shape.name}"))
    expected = tuning.expectation()
    if tuning.halved is not None:
        said.append(_carried(tuning, tuning.halved, expected.mask_iou))
    said.append(expected.to_text())
    measured = len(best.values())
    if measured < LEAST_CATEGORIES:
        said.append(
            f"{measured} measured categories are too few for an interval, and the order of the designs may be chance: "
            f"how much categories differ is not known from so few. From {LEAST_CATEGORIES} on there is one."
        )
    else:
        said.append(
            f"The interval is made to hold {_new(tuning.unseen)} like the seen ones, in "
            f"{100 * expected.level:.0f} of 100 cases. {_like(tuning.likeness)}"
        )
    if unmeasured := [tuning.names[id_] for id_ in tuning.categories if id_ not in best.values()]:
        said.append(f"Without a mask in val, so not counted: {listed(unmeasured, _NAMED)}.")
    if tuning.run:
        said.append(f"Fitted on all seen categories: {tuning.run}")
    return said


def _new(unseen: int) -> str:
    return f"the mean over {unseen} categories that are" if unseen > 1 else "the figure of a category that is"


def _carried(tuning: Tuning, halved: TunedDesign, iou: Range) -> str:
    """What the best design had with fewer categories hidden, and with none by the trend."""
    count = len(tuning.categories)
    rows = [(tuning.best().mean(), tuning.folds), (halved.mean(), halved.folds)]
    had = [f"{number_text(mean)} from {count - count / len(parts):.0f}" for mean, parts in rows]
    return (
        f"More seen categories: on hidden ones its IoU is {' and '.join(had)} seen categories; carried on to all "
        f"{count}, {number_text(iou.mean)}."
    )


def _like(found: Likeness | None) -> str:
    """Whether the unseen categories are that, as far as the detector's class weights tell."""
    if found is None:
        return "Whether yours are is not known."
    pair = f"cosine of class weights {found.unseen:.2f} to the nearest, {found.seen:.2f} among the seen"
    if found.differs() > 0:
        return f"Yours are nearer to these than these are to each other ({pair}): this may be too low."
    if found.differs() < 0:
        return f"Yours are farther from these than these are from each other ({pair}): this may be too high."
    return f"By the detector yours are ({pair})."


def _ahead(by: Range, what: str) -> str:
    gain = (
        f"{by.mean:+.1f}" if by.low is None or by.high is None else f"{by.mean:+.1f} ({by.low:+.1f} to {by.high:+.1f})"
    )
    if by.low is None:
        return f"Against {what}: {gain}; of so few categories that may be chance."
    return f"Against {what}: {gain}, {'more than' if by.low > 0 else 'no more than'} chance."


def _row(design: TunedDesign, reference: TunedDesign | None) -> list[str]:
    means = [] if design.kind == SHAPE else design.of_folds()
    behind = "-"
    if reference is not None and design is not reference and not math.isnan(mean := difference(design, reference).mean):
        behind = f"{mean:+.1f}"
    return [
        design.name,
        "-" if design.kind == SHAPE else str(len(design.folds)),
        number_text(design.mean()),
        number_text(min(means, default=None)),
        number_text(max(means, default=None)),
        number_text(spread(design) if means else None),
        behind,
        number_text(design.mean("ap")),
    ]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value
