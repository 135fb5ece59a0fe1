"""How tables, sizes and names from elsewhere are printed for people."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any

# Control characters, halves of characters, marks that turn the direction of writing or are not seen, other ends of
# lines. Two joiners are left, which scripts and pictures need.
_HIDDEN = (
    "\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_FOREIGN = re.compile(f"[\x00-\x1f{_HIDDEN}]")
_ON_A_TERMINAL = re.compile(f"[\x00-\x08\x0b-\x1f{_HIDDEN}]")


def shown(name: str) -> str:
    """A name from elsewhere (a category, a file, a setting) as it is printed: on one line, and all of it seen."""
    return name if name.isascii() and name.isprintable() else _FOREIGN.sub(_escaped, name)


def printable(text: str) -> str:
    """A text of several lines as it is printed: what would move the cursor, or the order of letters, is written out.

    JSON stays JSON.
    """
    return _ON_A_TERMINAL.sub(_escaped, text)


def json_text(value: Any) -> str:
    """JSON as it stands in files for people, and on the terminal: with its line's end, and always sound UTF-8."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a character, as only JSON can write it
        text = json.dumps(value, indent=2) + "\n"
    return text


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return f"\\u{ord(character):04x}" if character == "\x7f" else json.dumps(character)[1:-1]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[bool], style: str = "text") -> str:
    """Print a table.

    Args:
        words: For each column whether it is text, which stands to the left, or a number, which stands to the right.
        style: ``text``, for a terminal; ``markdown``; or ``csv``.
    """
    if style == "csv":
        text = io.StringIO()
        rows = [[shown(cell) for cell in row] for row in rows]
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        return text.getvalue().rstrip("\n")
    rows = [[shown(cell) for cell in row] for row in rows]
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


def format_seconds(seconds: float) -> str:
    """``3.2 h``, in the unit in which it is easy to read."""
    for unit, factor in (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.2g} ms"


def format_bytes(count: int) -> str:
    """``12.3 GB``, with decimal prefixes as disks are sold."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
