"""Emptying the masks that a person rejected, so that their boxes are without masks again."""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.annotate.json_splice import list_spans, with_members
from maskx_pipeline.annotate.null_masks import NullMasks
from maskx_pipeline.data.masks import is_from_teacher, mask_is_absent
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import atomic_path

SOURCE = "maskx:"
"""How ``mask_source`` begins of masks that maskx filled in."""

REJECTED = "rejected"
_KEYS = ("mask_confidence", "mask_source", "mask_agreement", "second_opinion")


@dataclass(frozen=True, slots=True)
class Emptied:
    """What `maskx annotate --rejected` reports.

    Attributes:
        emptied: Annotations whose mask was taken away.
        empty: Rejected ones that had none.
        others: Rejected ones whose mask is not from maskx, which stays.
        filled: Masks of maskx that are left.
    """

    out: str
    emptied: int
    empty: int
    others: int
    filled: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """Some lines for the terminal."""
        lines = [f"{self.out}: {self.emptied} rejected masks emptied, {self.filled} masks of maskx left"]
        if self.empty:
            lines.append(f"  {self.empty:>6} rejected ones had no mask")
        if self.others:
            lines.append(f"  {self.others:>6} rejected masks are not from maskx: they stay")
        return "\n".join(lines)


def read_rejected(path: Path) -> frozenset[int]:
    """The annotation ids of a CSV that are rejected: column ``annotation_id``, and ``decision`` where there is one.

    Raises:
        DataError: It has no such column, or holds what is no id.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            if "annotation_id" not in (rows.fieldnames or ()):
                raise DataError(
                    f"{path} has no column annotation_id.", "give the file that the review page lets you download"
                )
            return frozenset(
                _id(row["annotation_id"], path, rows.line_num)
                for row in rows
                if row.get("decision", REJECTED) == REJECTED
            )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}", "give the file of the review page") from error


def empty_rejected(dataset: Path, out: Path, ids: Collection[int], *, digest: str) -> Emptied:
    """Write an annotation file in which the rejected masks of maskx are empty, and each other byte is as it was.

    An emptied annotation has ``"segmentation": []``, the area of its box, and none of the keys that maskx adds.

    Args:
        digest: SHA-256 of the data set, as it was read before.

    Raises:
        DataError: The data set is no such file, or lacks an id.
    """
    raw = dataset.read_bytes()
    if hashlib.sha256(raw).hexdigest() != digest:
        raise DataError(f"{dataset} changed while it was read.", "run this again when nothing writes it")
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogatepass")
        spans = [span for span in list_spans(text, "annotations") if isinstance(span.value, dict)]
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(f"{dataset} is no annotation file in COCO format.", "give the one that was reviewed") from error
    times = Counter(span.value.get("id") for span in spans if isinstance(span.value.get("id"), int | float))
    missing = sorted(number for number in ids if times[number] != 1)
    if missing:
        raise DataError(
            f"{dataset} has no annotation, or several, with the id {missing[0]}"
            + (f" and {len(missing) - 1} others" if len(missing) > 1 else "")
            + ", which the CSV names.",
            "give the annotation file that was reviewed",
        )
    pieces, at = [], 0
    emptied = empty = others = filled = 0
    for span in spans:
        entry = span.value
        masked, ours = not mask_is_absent(entry.get("segmentation")), is_filled(entry)
        if not isinstance(entry.get("id"), int | float) or entry["id"] not in ids:
            filled += masked and ours
            continue
        if masked and ours:
            emptied += 1
            changes = {"segmentation": [], "area": _area(entry.get("bbox"))}
            pieces += [text[at : span.start], with_members(text[span.start : span.end], changes, without=_KEYS)]
            at = span.end
        else:
            empty, others = empty + (not masked), others + masked
    with atomic_path(out) as temporary, temporary.open("wb") as stream:
        nulls = NullMasks(stream)
        nulls.write("".join([*pieces, text[at:]]).encode("utf-8", "surrogatepass"))
        nulls.close()
    return Emptied(str(out), emptied, empty, others, filled)


def is_filled(entry: Mapping[str, Any]) -> bool:
    """Whether the mask of an annotation says that maskx filled it in: its own, or a teacher's in its place."""
    source = entry.get("mask_source")
    if is_from_teacher(source):
        source = entry.get("second_opinion")
    return isinstance(source, str) and source.startswith(SOURCE)


def _id(text: str | None, path: Path, line: int) -> int:
    try:
        return int(str(text).strip())
    except ValueError as error:
        raise DataError(f"{path}, line {line}: `{text}` is no annotation id.", "give the file of the page") from error


def _area(box: Any) -> float:
    try:
        return float(box[2]) * float(box[3])
    except (TypeError, ValueError, IndexError):
        return 0.0
