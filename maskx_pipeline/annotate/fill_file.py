"""The annotation file whose missing masks are filled, and what is reported of it."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskx_pipeline.annotate.fill_journal import UnreadableImage
from maskx_pipeline.annotate.fill_masks import FilledMask, Opinion
from maskx_pipeline.annotate.mask_gaps import MaskGaps
from maskx_pipeline.annotate.null_masks import NullMasks
from maskx_pipeline.annotate.reliability import LeastConfidence
from maskx_pipeline.annotate.review_items import DISAGREEMENT
from maskx_pipeline.annotate.worklist import worklist_path
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.provenance.journal import Journal
from maskx_pipeline.provenance.room import writing


@dataclass(frozen=True, slots=True)
class Second:
    """A teacher beside the model.

    Attributes:
        source: What stands in ``second_opinion``, and in ``mask_source`` of its own masks.
        by_teacher: The model's labels whose masks are the teacher's, and the IoU to expect of these, 0..1.
    """

    name: str
    source: str
    opinion: Opinion
    by_teacher: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Annotated:
    """What `maskx annotate` reports: how many annotations were filled, and why the others were not.

    Attributes:
        filled_seen: Of them, those of categories whose masks the model was trained on.
        confidence_seen, confidence_unseen: Mean confidence of these and of the others; None where there is none.
        uncertain: Stay without a mask, since it would be below the least confidence.
        empty: Stay without a mask, since the model finds no pixel of the object in the box.
        filled_holes: Masks with holes, which polygons cannot express and which were filled.
        specks, specked: Small parts that were left out, and the masks that had any.
        nulls: Annotations without a mask that said null, and now say [].
        unknown: Stay without a mask: by name of a category that the model does not know.
        problems: Stay without a mask: by what is wrong with the annotation.
        unreadable: Images whose annotations stay without masks.
        min_confidence: The least one of a filled mask.
        wanted: How that was chosen; None where it was given.
        teacher: Who was asked for a second opinion; empty if nobody was.
        by_teacher: Of the filled, those that have the teacher's mask.
        agreement: Mean IoU of the model's and the teacher's masks of those that were filled.
        disagreements: Of the filled, those below `DISAGREEMENT`.
        worklist: The table of what to look at, where there is a second opinion.
    """

    out: str
    annotations: int
    filled: int
    filled_seen: int
    confidence_seen: float | None
    confidence_unseen: float | None
    masked: int
    crowd: int
    uncertain: int
    empty: int
    filled_holes: int
    specks: int
    specked: int
    nulls: int
    unknown: dict[str, int]
    problems: dict[str, int]
    unreadable: tuple[UnreadableImage, ...]
    min_confidence: float
    wanted: LeastConfidence | None = None
    teacher: str = ""
    by_teacher: int = 0
    agreement: float | None = None
    disagreements: int = 0
    worklist: str = ""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Annotated:
        """The inverse of `to_json`."""
        unreadable = tuple(UnreadableImage(**image) for image in values["unreadable"])
        wanted = values["wanted"] and LeastConfidence(**values["wanted"])
        return cls(**{**values, "unreadable": unreadable, "wanted": wanted})

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "unreadable": [asdict(image) for image in self.unreadable]}

    def to_text(self) -> str:
        """Some lines for the terminal, without those that count nothing."""
        unseen = self.filled - self.filled_seen
        lines = [
            *(self.wanted.to_lines() if self.wanted else []),
            f"{self.out}: {self.filled} of {self.annotations} annotations filled with a mask",
            *_line(self.filled_seen, f"of seen categories, mean confidence {self.confidence_seen or 0:.2f}"),
            *_line(unseen, f"of unseen categories, mean confidence {self.confidence_unseen or 0:.2f}"),
            *_line(self.filled_holes, "had holes, which polygons cannot express: filled (rle keeps them)"),
            *_line(self.specked, f"had small parts, {self.specks} in all: left out (--speck-share 0 keeps them)"),
            *_line(self.by_teacher, f"have the mask of {self.teacher}"),
            *self._second_opinion(),
            *_line(self.nulls, "without a mask said null, and now [], which all importers take"),
            "left as they are:",
            *_line(self.masked, "have a mask"),
            *_line(self.crowd, "are crowd regions"),
            *_line(self.uncertain, f"too uncertain (below {self.min_confidence:g})"),
            *_line(self.empty, "in whose box the model finds no pixel of the object"),
        ]
        for name, count in sorted(self.unknown.items()):
            lines += _line(count, f"of the category `{name}`, which the model does not know")
        for kind, count in sorted(self.problems.items()):
            lines += _line(count, f"with a problem: {kind}")
        lines += _line(
            sum(i.annotations for i in self.unreadable), f"in {len(self.unreadable)} images that are unusable"
        )
        return "\n".join(lines if lines[-1] != "left as they are:" else lines[:-1])

    def _second_opinion(self) -> list[str]:
        if self.agreement is None:
            return []
        least = f"on which model and {self.teacher} disagree (IoU below {DISAGREEMENT:g}): {self.worklist}"
        return [f"  mean agreement with {self.teacher}: {self.agreement:.2f}", *_line(self.disagreements, least)]


def annotate(
    data: CocoData,
    gaps: MaskGaps,
    unreadable: Sequence[UnreadableImage],
    *,
    out: Path,
    write_to: Path,
    journal: Journal,
    labels: Mapping[int, int],
    seen: Collection[int],
    min_confidence: float,
    source: str,
    second: Second | None = None,
) -> tuple[Annotated, dict[int, float]]:
    """Write the annotation file with the masks of the journal.

    Args:
        unreadable: Images that have none; see `fill_journal`.
        out: The annotation file, as it is called in the counts.
        write_to: A temporary file, which becomes ``out``.
        journal: Holds the masks of all other images.
        labels: The model's label of each label of ``data`` that it knows.
        seen: The model's labels whose masks it was trained on.
        source: What stands in ``mask_source``.
        second: A teacher whose masks are compared with the model's, or taken in their place.

    Returns:
        The counts; and by annotation id the confidence of the masks that were left out, 0 where the box is empty.
    """
    table = data.annotations()
    tally = _Tally()

    def changes(row: int) -> dict[str, Any] | None:
        image_id, number = int(table.image_ids[row]), int(table.ids[row])
        if image_id not in journal.done:
            return None
        mask = next(FilledMask(**m) for m in journal.masks_of(image_id) if m["annotation_id"] == number)
        kept = bool(mask.segmentation) and mask.confidence >= min_confidence
        tally.count(mask, kept=kept, seen=labels[int(table.labels[row])] in seen)
        return _changes(mask, source, second) if kept else None

    with writing(out, needed=2 * data.path.stat().st_size), write_to.open("wb") as stream:
        nulls = NullMasks(stream)
        gaps.write(nulls, changes)
        nulls.close()
    counts = Annotated(
        out=str(out),
        annotations=gaps.annotations,
        filled=len(tally.seen) + len(tally.unseen),
        filled_seen=len(tally.seen),
        confidence_seen=_mean(tally.seen),
        confidence_unseen=_mean(tally.unseen),
        masked=gaps.left_alone.masked,
        crowd=gaps.left_alone.crowd,
        uncertain=len(tally.without) - tally.empty,
        empty=tally.empty,
        filled_holes=tally.filled_holes,
        specks=tally.specks,
        specked=tally.specked,
        nulls=nulls.changed,
        unknown=dict(gaps.left_alone.unknown),
        problems=dict(gaps.left_alone.problems),
        unreadable=tuple(unreadable),
        min_confidence=min_confidence,
        **_agreement_of(out, tally, second),
    )
    return counts, tally.without


@dataclass(slots=True)
class _Tally:
    """What is counted while the file is written.

    Attributes:
        seen, unseen: The confidences of the masks of seen and of other categories.
        agreements: Of the masks that are written.
        without: By annotation id, the confidence of a mask that is left out, 0 where the box is empty.
    """

    seen: array[float] = field(default_factory=lambda: array("d"))
    unseen: array[float] = field(default_factory=lambda: array("d"))
    agreements: array[float] = field(default_factory=lambda: array("d"))
    without: dict[int, float] = field(default_factory=dict)
    empty: int = 0
    filled_holes: int = 0
    specks: int = 0
    specked: int = 0
    by_teacher: int = 0

    def count(self, mask: FilledMask, *, kept: bool, seen: bool) -> None:
        if not kept:
            self.without[mask.annotation_id] = mask.confidence
            self.empty += not mask.segmentation
            return
        (self.seen if seen else self.unseen).append(mask.confidence)
        self.filled_holes += mask.filled_holes > 0
        self.specks += mask.specks
        self.specked += mask.specks > 0
        self.by_teacher += mask.by_teacher
        self.agreements.append(mask.agreement or 0.0)


def _changes(mask: FilledMask, source: str, second: Second | None) -> dict[str, Any]:
    """The keys of a filled annotation and their values."""
    changes = {
        "segmentation": mask.segmentation,
        "area": mask.area,
        "mask_confidence": mask.confidence,
        "mask_source": second.source if second is not None and mask.by_teacher else source,
    }
    if second is not None:
        changes |= {"mask_agreement": mask.agreement, "second_opinion": source if mask.by_teacher else second.source}
    return changes


def _agreement_of(out: Path, tally: _Tally, second: Second | None) -> dict[str, Any]:
    if second is None:
        return {}
    return {
        "teacher": second.name,
        "by_teacher": tally.by_teacher,
        "agreement": _mean(tally.agreements),
        "disagreements": sum(agreement < DISAGREEMENT for agreement in tally.agreements),
        "worklist": str(worklist_path(out)),
    }


def _line(count: int, what: str) -> list[str]:
    return [f"  {count:>6} {what}"] if count else []


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
