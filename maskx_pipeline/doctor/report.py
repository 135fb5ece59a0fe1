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
    "train_rectangles": "only boxes", "train_crowds": "crowds", "train_tiny": "tiny", "val_boxes": "val boxes",
    "val_masks": "masks", "val_rectangles": "only boxes", "val_crowds": "crowds", "val_tiny": "tiny",
    "verdict": "verdict",
}  # fmt: skip
_LEFT = ("name", "verdict")
_NAMED = 10  # of the images without boxes


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """Counts of one category; crowds are counted apart from boxes and masks.

    ``..._rectangles`` of the masks are exactly the object's box, and ``..._tiny`` of the boxes smaller than
    `check.TINY` square pixels. ``verdict`` is, as with ``--split masked``, `seen` (has masks in training), `unseen`
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
    val_boxes: int
    val_masks: int
    val_rectangles: int
    val_crowds: int
    val_tiny: int
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
        rows = [[str(getattr(row, name)) for name in _COLUMNS] for row in self.categories]
        words = [name in _LEFT for name in _COLUMNS]
        return "\n".join([table(list(_COLUMNS.values()), rows, words=words), "", *self._summary()])

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
