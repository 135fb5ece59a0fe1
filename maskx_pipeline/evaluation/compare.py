"""The runs of a study side by side: what their evaluations recorded, as one table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.engine.runlog import read_run
from maskx_pipeline.errors import RunError

_FIGURES = ("AP", "AP50")
_TEXT_COLUMNS = ("run", "embedding", "form", "trained on")


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run: its settings, and its mask AP in percent on ``unseen`` and ``seen``; None where nothing was measured."""

    run: str
    embedding: str
    form: str
    split: str
    unseen: dict[str, float | None]
    seen: dict[str, float | None]

    def cells(self) -> list[str]:
        """The row of the table."""
        numbers = [row[figure] for row in (self.unseen, self.seen) for figure in _FIGURES]
        settings = [self.run, self.embedding, self.form, self.split]
        return settings + ["-" if number is None else f"{number:.1f}" for number in numbers]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs in the order asked for."""

    runs: tuple[ComparedRun, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "runs": [
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
        }

    def to_text(self, style: str = "text") -> str:
        """The table as ``text``, ``markdown`` or ``csv``."""
        header = [*_TEXT_COLUMNS, *(f"{name} {figure}" for name in ("unseen", "seen") for figure in _FIGURES)]
        rows = [row.cells() for row in self.runs]
        if style == "csv":
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([header, *rows])
            return text.getvalue().rstrip("\n")
        widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
        if style == "markdown":
            ruler = [
                "-" * width if column < len(_TEXT_COLUMNS) else "-" * (width - 1) + ":"
                for column, width in enumerate(widths)
            ]
            return "\n".join("| " + " | ".join(_padded(row, widths)) + " |" for row in (header, ruler, *rows))
        return "\n".join("  ".join(_padded(row, widths)).rstrip() for row in (header, *rows))


def compare_runs(folders: Iterable[Path]) -> Comparison:
    """Read what ``maskx evaluate`` recorded in the folders of stage-2 and joint runs.

    Raises:
        RunError: A folder is no such run, or was not evaluated.
    """
    return Comparison(tuple(_compared(folder) for folder in folders))


def _compared(folder: Path) -> ComparedRun:
    config = _mask_model_of(folder)
    path = _newest_evaluation(folder)
    try:
        sets = json.loads(path.read_text(encoding="utf-8"))["sets"]
        unseen, seen = ({name: sets[kind]["mask"][name] for name in _FIGURES} for kind in ("unseen", "seen"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error!r}.", _evaluate(folder)) from error
    agnostic = config["embedding"] == "none"
    return ComparedRun(
        run=folder.resolve().name,
        embedding=config["embedding"],
        form="-" if agnostic else config["form"],
        split=config["split"],
        unseen=unseen,
        seen=seen,
    )


def _mask_model_of(folder: Path) -> dict[str, Any]:
    record = read_run(folder)
    if record["stage"] == "e2e":
        return {**record["transfer"], "split": record["config"]["split"]}
    return dict(read_run(folder, stage="fit-transfer")["config"])


def _newest_evaluation(folder: Path) -> Path:
    """The record written last; those of all category sets hold the same figures of seen and unseen."""
    records = sorted(folder.glob("evaluation/*/ap-*.json"), key=lambda path: path.stat().st_mtime_ns)
    if not records:
        raise RunError(f"{folder} has not been evaluated.", _evaluate(folder))
    return records[-1]


def _evaluate(folder: Path) -> str:
    return f"run `maskx evaluate --model {folder}`"


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    count = len(_TEXT_COLUMNS)
    return [
        cell.ljust(width) if column < count else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
