"""The runs of a study side by side: what their evaluations recorded, as one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.evaluation import directions
from maskx_pipeline.evaluation.compared_run import FIGURES, ComparedRun, number_text, read_compared_run
from maskx_pipeline.evaluation.directions import DirectionTable, both_directions

_WORDS = ("run", "embedding", "form", "trained on")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs in the order asked for; laid out like the paper's tables where they are of both directions of a split."""

    runs: tuple[ComparedRun, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: the runs, and ``methods`` where they are of both directions of a split."""
        table = both_directions(self.runs)
        runs = [
            {
                "run": row.run,
                "embedding": row.embedding,
                "form": row.form,
                "split": row.split,
                "unseen mask": row.unseen,
                "seen mask": row.seen,
            }
            for row in self.runs
        ]
        return {"runs": runs} if table is None else {"runs": runs, "methods": table.to_json()}

    def to_text(self, style: str = "text") -> str:
        """The table as ``text``, ``markdown`` or ``csv``."""
        table = both_directions(self.runs)
        if table is not None:
            return _both_directions_text(table, style)
        header = [*_WORDS, *(f"{name} {figure}" for name in ("unseen", "seen") for figure in FIGURES)]
        return _laid_out(style, header, [row.cells() for row in self.runs], words=len(_WORDS))


def compare_runs(folders: Iterable[Path]) -> Comparison:
    """Read what ``maskx evaluate`` recorded in the folders of stage-2 and joint runs.

    Raises:
        RunError: A folder is no such run, or was not evaluated.
    """
    return Comparison(tuple(read_compared_run(folder) for folder in folders))


def _both_directions_text(table: DirectionTable, style: str) -> str:
    words, figures = directions.WORDS, directions.FIGURES
    rows = [[row.method, row.training, *map(number_text, table.numbers(row))] for row in table.rows]
    if style != "text":
        header = [*words, *(f"{direction.name}: {figure}" for direction in table.directions for figure in figures)]
        return _laid_out(style, header, rows, words=len(words))
    # In the terminal each direction stands above its two columns, which share its width.
    names = [direction.name for direction in table.directions]
    column = (max(map(len, names)) - 1) // 2
    header = [*words, *(figure.rjust(column) for _ in names for figure in figures)]
    text = _laid_out(style, header, rows, words=len(words))
    span = 2 * max(column, len(figures[0])) + 2
    above = "  ".join(name.rjust(span) for name in names)
    return above.rjust(max(map(len, text.splitlines()))) + "\n" + text


def _laid_out(style: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int) -> str:
    """Print a table whose first ``words`` columns are text and the others numbers."""
    if style == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        return text.getvalue().rstrip("\n")
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    padded = [
        [cell.ljust(width) if column < words else cell.rjust(width) for column, (cell, width) in enumerate(cells)]
        for cells in (list(zip(row, widths, strict=True)) for row in (header, *rows))
    ]
    if style == "markdown":
        ruler = ["-" * width if column < words else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
        return "\n".join("| " + " | ".join(row) + " |" for row in (padded[0], ruler, *padded[1:]))
    return "\n".join("  ".join(row).rstrip() for row in padded)
