"""What `maskx doctor` found in a data set, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from maskx_pipeline.data.findings import Finding
from maskx_pipeline.data.kinds import ERROR, NOTE, WARNING
from maskx_pipeline.text import table

_COLUMNS = {
    "id": "id", "name": "category", "train_boxes": "boxes", "train_masks": "masks", "train_rectangles": "=box",
    "train_crowds": "crowd", "train_tiny": "tiny", "train_teacher": "by teacher", "val_boxes": "val boxes",
    "val_masks": "masks", "val_teacher": "by teacher", "verdict": "verdict",
}  # fmt: skip
_IF_ANY = ("train_teacher", "val_teacher")  # columns of most data sets that would hold zeros only
_LEFT = ("name", "verdict")
_SHORTEST_NAME = 8
_WIDTH = 80
_ORDER = (ERROR, WARNING, NOTE)


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
    """What `check_dataset` found: ``findings`` by kind, and ``notes``, sentences of what to know besides."""

    categories: tuple[CategoryReport, ...]
    train_images: int
    val_images: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def fatal(self) -> tuple[str, ...]:
        """Why training would go wrong and what to do, a sentence each."""
        return tuple(f"{one.sentence()}; {one.advice}" for one in self.findings if one.refuses)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "categories": [asdict(row) for row in self.categories],
            "train_images": self.train_images,
            "val_images": self.val_images,
            "findings": [one.to_json() for one in self.findings],
            "fatal": list(self.fatal),
            "notes": list(self.notes),
        }

    def to_text(self, *, every: bool = False) -> str:
        """A table of the categories, then each finding with some examples (all, if ``every``), in 80 columns."""
        shown = [n for n in _COLUMNS if n not in _IF_ANY or any(getattr(row, n) for row in self.categories)]
        rows = [[str(getattr(row, name)) for name in shown] for row in self.categories]
        words = [name in _LEFT for name in shown]
        header = [_COLUMNS[name] for name in shown]
        room = _WIDTH - max(map(len, table(header, [_without_name(row) for row in rows], words=words).splitlines()))
        longest = max(_SHORTEST_NAME, room + _SHORTEST_NAME)
        for row in rows:
            row[1] = row[1] if len(row[1]) <= longest else f"{row[1][: longest - 1]}…"
        return "\n".join([table(header, rows, words=words), "", *self._summary(every)])

    def _summary(self, every: bool) -> list[str]:
        verdicts = Counter(row.verdict for row in self.categories)
        lines = [
            f"{self.train_images} training and {self.val_images} validation images; categories: "
            + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        ]
        found = sorted(self.findings, key=lambda one: _ORDER.index(one.severity))
        notes = [textwrap.fill(f"note: {note}", _WIDTH, subsequent_indent="  ") for note in self.notes]
        return [*lines, *(one.to_text(every=every) for one in found), *notes]


def _without_name(row: list[str]) -> list[str]:
    return [row[0], "-" * _SHORTEST_NAME, *row[2:]]
