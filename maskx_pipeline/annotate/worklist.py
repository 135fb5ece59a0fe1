"""What a person goes through, as a table for a spreadsheet: boxes left without a mask, and then the filled masks."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from maskx_pipeline.annotate.review_items import ReviewItem
from maskx_pipeline.provenance.files import atomic_path

_COLUMNS = ("file_name", "annotation_id", "category", "confidence", "reason")
_OF_SECOND_OPINION = ("agreement", "mask_by")


def worklist_path(out: Path) -> Path:
    """The table beside the annotation file."""
    return out.with_name(f"{out.stem}.worklist.csv")


def write_worklist(path: Path, items: Iterable[ReviewItem]) -> None:
    """Write a CSV, a line for each item; with a second opinion it says how far the two agree and whose the mask is.

    A text that a spreadsheet would take for a formula gets a quote before it.

    Args:
        items: In their order; of the masks those with the least agreement come first.
    """
    ordered = sorted(items, key=lambda item: (item.filled, 1.0 if item.agreement is None else item.agreement))
    second = any(item.agreement is not None for item in ordered)
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="", errors="backslashreplace") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS + (_OF_SECOND_OPINION if second else ()))
        for item in ordered:
            names = (_plain(item.image.file_name), item.annotation_id, _plain(item.category))
            further = (_number(item.agreement), _plain(item.made_by)) if second else ()
            writer.writerow([*names, _number(item.confidence), item.reason, *further])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
