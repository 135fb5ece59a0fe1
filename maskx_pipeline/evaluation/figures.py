"""What an evaluation found: the figures of category sets and categories, as plain values and as a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskx_pipeline.errors import listed
from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.text import number_text

if TYPE_CHECKING:
    from maskx_pipeline.evaluation.box_figures import BoxFigures
    from maskx_pipeline.evaluation.coco_ap import ApSummary
    from maskx_pipeline.evaluation.expectation import Expectation

FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL")
"""The names of COCO's six figures, in the order of `ApSummary.figures`."""

_COLUMNS = (*FIGURES, "AR")  # average recall beside them
_WIDTH = 6
_COUNT = 8
_NAMED = 8  # categories named in a remark before "and N more"


@dataclass(frozen=True, slots=True)
class SetAp:
    """The AP of one category set."""

    name: str
    categories: int
    box: ApSummary
    mask: ApSummary


@dataclass(frozen=True, slots=True)
class CategoryAp:
    """The AP of one category, and the figures of its masks.

    ``objects`` and ``masks`` count what val has of it, crowds left out.
    """

    label: int
    id: int
    name: str
    seen: bool
    objects: int
    masks: int
    box: float
    mask: float
    mask_figures: tuple[float, ...]
    mask_recall: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What ``maskx evaluate`` reports.

    Attributes:
        source: ``cache`` or ``images``: where the detections come from.
        max_detections: The detections of an image and category that count, the best ones.
        sets: The set asked for, then ``seen`` and ``unseen``.
        categories: Those of the set asked for, by ascending label.
        boxes: The mask IoU at the true boxes, where it was measured.
        expected: What `maskx tune` expects of this model on unseen categories; None where it was not asked.
    """

    model: str
    source: str
    split: str
    images: int
    detections: int
    max_detections: int
    sets: tuple[SetAp, ...]
    categories: tuple[CategoryAp, ...]
    boxes: BoxFigures | None = None
    expected: Expectation | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; AP and IoU in percent, None where there is nothing to measure."""
        return {
            "model": self.model,
            "from": self.source,
            "split": self.split,
            "images": self.images,
            "detections": self.detections,
            "max_detections": self.max_detections,
            "sets": {
                row.name: {"categories": row.categories, "box": _plain(row.box), "mask": _plain(row.mask)}
                for row in self.sets
            },
            "categories": [
                {
                    "id": row.id,
                    "name": row.name,
                    "seen": row.seen,
                    "objects": row.objects,
                    "masks": row.masks,
                    "box_ap": _or_none(row.box),
                    "mask_ap": _or_none(row.mask),
                    "mask": _named((*row.mask_figures, row.mask_recall)),
                }
                for row in self.categories
            ],
            **({} if self.boxes is None else {"at_boxes": self.boxes.to_json()}),
            **({} if self.expected is None else {"expected": self.expected.to_json()}),
        }

    def to_text(self, *, per_category: bool = False) -> str:
        """A table for the terminal."""
        return _table(self, per_category=per_category)

    def write(self, folder: Path) -> Path:
        """Write :meth:`to_json` into a folder, under the name of the category set. Returns the file."""
        path = folder / f"ap-{re.sub(r'[^A-Za-z0-9._-]+', '_', self.split).strip('_') or 'set'}.json"
        write_json(path, self.to_json())
        return path


def _table(evaluation: Evaluation, *, per_category: bool) -> str:
    """Category sets down, box and mask AP across, in percent; ``-`` where there is nothing to measure."""
    origin = {"cache": "cached detections", "images": "the images"}.get(evaluation.source, evaluation.source)
    title = f"{evaluation.images} images, {evaluation.detections} detections, from {origin}"
    if evaluation.max_detections != MOST_DETECTIONS:
        title += f", the {evaluation.max_detections} best of an image and category counted (COCO: {MOST_DETECTIONS})"
    if evaluation.model:
        title = f"{evaluation.model}: {title}"
    first = max([len(row.name) for row in evaluation.sets] + [6])
    figures = "".join(name.rjust(_WIDTH) for name in _COLUMNS)
    groups = f"{_ruled('box', len(figures))}  {_ruled('mask', len(figures))}"
    boxes = evaluation.boxes
    lines = [title, ""]
    if boxes is not None:
        lines += [*boxes.verdicts(), "", boxes.to_text(per_category=per_category), ""]
        lines += ["AP of the detections, percent", ""]
    lines += [
        f"{'':{first}}{'':{_COUNT}}{groups}",
        f"{'set':{first}}{'categ.':>{_COUNT}}{figures}  {figures}",
    ]
    for row in evaluation.sets:
        box, mask = (_numbers((*ap.figures(), ap.ar)) for ap in (row.box, row.mask))
        lines.append(f"{row.name:{first}}{row.categories:>{_COUNT}}{box}  {mask}")
    if evaluation.expected is not None:
        measured = next((row.mask.ap for row in evaluation.sets if row.name == "unseen"), float("nan"))
        lines += ["", evaluation.expected.to_text(), f"Measured on them: mask AP {number_text(measured)}."]
    lines += _remarks(evaluation.categories)
    if per_category:
        lines += ["", *_category_lines(evaluation.categories)]
    return "\n".join(lines)


def _ruled(title: str, width: int) -> str:
    return f" {title} ".center(width - 3, "-").rjust(width)


def _numbers(values: Sequence[float]) -> str:
    return "".join(number_text(value).rjust(_WIDTH) for value in values)


def _remarks(categories: Sequence[CategoryAp]) -> list[str]:
    absent = [row.name for row in categories if row.objects == 0]
    maskless = [row.name for row in categories if row.objects > 0 and row.masks == 0]
    lines = []
    if absent:
        lines.append(f"Not in val, so not counted: {listed(absent, _NAMED)}.")
    if maskless:
        lines.append(f"Without a mask in val, so not counted in mask AP: {listed(maskless, _NAMED)}.")
    return ["", *lines] if lines else []


def _category_lines(categories: Sequence[CategoryAp]) -> list[str]:
    first = max([len(row.name) for row in categories] + [8])
    lines = [f"{'category':{first}}          objects   masks  box AP mask AP"]
    for row in sorted(categories, key=lambda row: (not row.seen, row.label)):
        kind = "seen" if row.seen else "unseen"
        box, mask = number_text(row.box), number_text(row.mask)
        lines.append(f"{row.name:{first}}  {kind:6}{row.objects:>9}{row.masks:>8}{box:>8}{mask:>8}")
    return lines


def _plain(summary: ApSummary) -> dict[str, float | None]:
    return _named((*summary.figures(), summary.ar))


def _named(figures: Sequence[float]) -> dict[str, float | None]:
    return {name: _or_none(value) for name, value in zip(_COLUMNS, figures, strict=True)}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
