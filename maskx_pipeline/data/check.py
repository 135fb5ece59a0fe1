"""What a data set holds, before anything is trained on it: per category boxes, masks and verdict, and each problem."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from maskx_pipeline.data.category_sets import masked_labels
from maskx_pipeline.data.images import image_fault
from maskx_pipeline.data.records import CocoData, Problem
from maskx_pipeline.engine.progress import progress

_COUNTS = ("train_boxes", "train_masks", "train_crowds", "val_boxes", "val_masks", "val_crowds")


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """Counts of one category; crowds are counted apart from boxes and masks.

    ``verdict`` is `seen` (has masks in training), `unseen` (boxes only) or `no boxes`, as with ``--split masked``.
    """

    label: int
    id: int
    name: str
    train_boxes: int
    train_masks: int
    train_crowds: int
    val_boxes: int
    val_masks: int
    val_crowds: int
    verdict: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What `check_dataset` found.

    ``problems`` were worked around while reading, or are images that training would stop at; ``fatal`` says in a
    sentence each why training would go wrong, ``notes`` what to know besides.
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
        """A table of the categories, then a line for each problem and note."""
        return "\n".join([*_table(self.categories), "", *self._summary()])

    def _summary(self) -> list[str]:
        verdicts = Counter(row.verdict for row in self.categories)
        lines = [
            f"{self.train_images} training and {self.val_images} validation images; categories: "
            + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        ]
        for split, problems in (("train", self.train_problems), ("val", self.val_problems)):
            lines += [f"{split}: {p.kind}: {p.message} -> {p.action}" for p in problems]
        return [*lines, *(f"note: {note}" for note in self.notes)]


def check_dataset(train: CocoData, val: CocoData) -> DatasetReport:
    """Look at a data set; reads the header of every image, but no pixels.

    Args:
        train: The training data.
        val: The validation data, read with the categories of training.

    Returns:
        The report; printing it and failing on it are left to the caller.
    """
    seen = masked_labels(train)
    train_counts, val_counts = _counts(train), _counts(val)
    rows = []
    for category in train.categories:
        boxes, masks, crowds = train_counts[category.label]
        verdict = "seen" if category.label in seen else "unseen" if boxes else "no boxes"
        rows.append(
            CategoryReport(
                category.label, category.id, category.name, boxes, masks, crowds, *val_counts[category.label], verdict
            )
        )
    train_faults, val_faults = _unreadable_images(train), _unreadable_images(val)
    return DatasetReport(
        categories=tuple(rows),
        train_images=len(train.images),
        val_images=len(val.images),
        train_problems=(*train.problems, *train_faults),
        val_problems=(*val.problems, *val_faults),
        fatal=_fatal(rows, [*train_faults, *val_faults]),
        notes=_notes(rows),
    )


def _counts(data: CocoData) -> dict[int, tuple[int, int, int]]:
    """(boxes, masks, crowds) of each label."""
    boxes: Counter[int] = Counter()
    masks: Counter[int] = Counter()
    crowds: Counter[int] = Counter()
    for annotation in data.annotations():
        if annotation.iscrowd:
            crowds[annotation.label] += 1
        else:
            boxes[annotation.label] += 1
            masks[annotation.label] += annotation.has_mask
    return {c.label: (boxes[c.label], masks[c.label], crowds[c.label]) for c in data.categories}


def _unreadable_images(data: CocoData) -> list[Problem]:
    problems = []
    with progress(len(data.images), f"checking {data.image_dir.name}", "images") as bar:
        for image in data.images:
            fault = image_fault(data.image_path(image.id), width=image.width, height=image.height)
            if fault is not None:
                message = f"image {image.id}: {fault}"
                problems.append(Problem("unusable image", message, "training would stop", None, image.id))
            bar.update()
    return problems


def _fatal(rows: list[CategoryReport], unusable: list[Problem]) -> tuple[str, ...]:
    fatal = []
    if not any(row.train_boxes for row in rows):
        fatal.append("no training image has a box")
    elif not any(row.train_masks for row in rows):
        fatal.append("no category has masks in the training data, so there is nothing to learn masks from")
    if not any(row.val_boxes for row in rows):
        fatal.append("no validation image has a box, so nothing can be measured")
    if unusable:
        fatal.append(f"{len(unusable)} images cannot be used, the first: {unusable[0].message}")
    return tuple(fatal)


def _notes(rows: list[CategoryReport]) -> tuple[str, ...]:
    notes = []
    verdicts = {row.verdict for row in rows}
    if "seen" in verdicts and "unseen" not in verdicts:
        notes.append("each category has masks; give fit-transfer a --split to hold some back")
    unmeasured = [row.name for row in rows if row.val_boxes and not row.val_masks]
    if unmeasured:
        notes.append("no masks in validation, so no mask AP for: " + ", ".join(unmeasured))
    return tuple(notes)


def _table(rows: tuple[CategoryReport, ...]) -> list[str]:
    header = ("id", "category", "train boxes", "masks", "crowds", "val boxes", "masks", "crowds", "verdict")
    cells = [(str(row.id), row.name, *(str(getattr(row, count)) for count in _COUNTS), row.verdict) for row in rows]
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    left = {1, len(header) - 1}
    return [
        "  ".join(
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *cells]
    ]
