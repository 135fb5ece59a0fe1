"""What `maskx doctor` found in a data set, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from maskx_pipeline.data.records import NO_BOXES, Problem
from maskx_pipeline.errors import listed
from maskx_pipeline.text import table

_COLUMNS = {
    "id": "id", "name": "category", "train_boxes": "train boxes", "train_masks": "masks",
    "train_rectangles": "only boxes", "train_crowds": "crowds", "train_tiny": "tiny",
    "train_teacher": "by teacher", "val_boxes": "val boxes",
    "val_masks": "masks", "val_rectangles": "only boxes", "val_crowds": "crowds", "val_tiny": "tiny",
    "val_teacher": "by teacher",
    "verdict": "verdict",
}  # fmt: skip
_IF_ANY = ("train_teacher", "val_teacher")  # columns of most data sets that would hold zeros only
_LEFT = ("name", "verdict")
_NAMED = 10  # of the images without boxes


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """Counts of one category; crowds are counted apart from boxes and masks.

    ``..._rectangles`` of the masks are exactly the object's box, and ``..._tiny`` of the boxes smaller than
    `check.TINY` square pixels. ``..._teacher`` have a mask by a teacher; those
    are not among the masks. ``verdict`` is, as with ``--split masked``, `seen` (has masks in training), `unseen`
    (boxes only), `suspect` (has masks, but nearly all are its boxes again) or `no boxes`.
    """

    label: int
    id: int
    name: str
    train_boxes: int
    train_masks: int
    train_rectangles: int
    train_crowds: int
    train_tiny: int
    train_teacher: int
    val_boxes: int
    val_masks: int
    val_rectangles: int
    val_crowds: int
    val_tiny: int
    val_teacher: int
    verdict: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What `check_dataset` found.

    ``problems`` were worked around while reading, or are images that training would stop at; ``fatal`` says in a
    sentence each why training would go wrong and what to do, ``notes`` what to know besides.
    """

    categories: tuple[CategoryReport, ...]
    train_images: int
    val_images: int
    train_problems: tuple[Problem, ...]
    val_problems: tuple[Problem, ...]
    fatal: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """A table of the categories, then a line for each problem and note; images without boxes share one."""
        shown = [n for n in _COLUMNS if n not in _IF_ANY or any(getattr(row, n) for row in self.categories)]
        rows = [[str(getattr(row, name)) for name in shown] for row in self.categories]
        words = [name in _LEFT for name in shown]
        return "\n".join([table([_COLUMNS[name] for name in shown], rows, words=words), "", *self._summary()])

    def _summary(self) -> list[str]:
        verdicts = Counter(row.verdict for row in self.categories)
        lines = [
            f"{self.train_images} training and {self.val_images} validation images; categories: "
            + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        ]
        for split, problems in (("train", self.train_problems), ("val", self.val_problems)):
            lines += [f"{split}: {p.kind}: {p.message} -> {p.action}" for p in problems if p.kind != NO_BOXES]
            empty = [p for p in problems if p.kind == NO_BOXES]
            if empty:
                named = listed([str(p.image_id) for p in empty], _NAMED)
                lines.append(f"{split}: {NO_BOXES}: {named} -> {empty[0].action}")
        return [*lines, *(f"note: {note}" for note in self.notes)]
