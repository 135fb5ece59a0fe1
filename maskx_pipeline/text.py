"""How tables and sizes are printed for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[bool], style: str = "text") -> str:
    """Print a table.

    Args:
        words: For each column whether it is text, which stands to the left, or a number, which stands to the right.
        style: ``text``, for a terminal; ``markdown``; or ``csv``.
    """
    if style == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        return text.getvalue().rstrip("\n")
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    padded = [
        [cell.ljust(width) if word else cell.rjust(width) for cell, width, word in zip(row, widths, words, strict=True)]
        for row in (header, *rows)
    ]
    if style == "markdown":
        ruler = ["-" * width if word else "-" * (width - 1) + ":" for width, word in zip(widths, words, strict=True)]
        return "\n".join("| " + " | ".join(row) + " |" for row in (padded[0], ruler, *padded[1:]))
    return "\n".join("  ".join(row).rstrip() for row in padded)


def first(words: int, header: Sequence[str]) -> list[bool]:
    """The columns of :func:`table` where the first ``words`` are text, and the others numbers."""
    return [column < words for column in range(len(header))]


def number_text(number: float | None) -> str:
    """One decimal, or a dash where nothing was measured."""
    return "-" if number is None or math.isnan(number) else f"{number:.1f}"


def format_bytes(count: int) -> str:
    """``12.3 GB``, with decimal prefixes as disks are sold."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
