"""What a run and its evaluations recorded, as far as a comparison needs it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskx_pipeline.engine.runlog import read_run
from maskx_pipeline.errors import RunError

FIGURES = ("AP", "AP50")


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run: its settings, and its mask AP in percent on ``unseen`` and ``seen``; None where nothing was measured.

    Attributes:
        training: ``sw`` (stage-wise) or ``e2e`` (joint), the paper's words; ``-`` for GrabCut, which is not trained.
        trained: Ids of the categories whose masks it was trained on.
        known: Ids of all categories.
        per_category: Mask AP by category id, of those that were evaluated.
    """

    run: str
    embedding: str
    form: str
    split: str
    unseen: dict[str, float | None]
    seen: dict[str, float | None]
    training: str = "sw"
    trained: frozenset[int] = frozenset()
    known: frozenset[int] = frozenset()
    per_category: dict[int, float | None] = field(default_factory=dict)

    def cells(self) -> list[str]:
        """The row of the table."""
        numbers = [row[figure] for row in (self.unseen, self.seen) for figure in FIGURES]
        return [self.run, self.embedding, self.form, self.split, *map(number_text, numbers)]


def number_text(number: float | None) -> str:
    """One decimal, or a dash where nothing was measured."""
    return "-" if number is None else f"{number:.1f}"


def read_compared_run(folder: Path) -> ComparedRun:
    """Read a stage-2, joint or GrabCut run, and the newest of its evaluations.

    Raises:
        RunError: The folder is no such run, or was not evaluated.
    """
    record = read_run(folder)
    joint = record["stage"] == "e2e"
    if joint:
        config = {**record["transfer"], "split": record["config"]["split"]}
    elif record["stage"] == "evaluate-grabcut":
        config = dict.fromkeys(("embedding", "form", "split"), "-")
    else:
        record = read_run(folder, stage="fit-transfer")
        config = record["config"]
    path = _newest_evaluation(folder)
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        unseen, seen = (
            {name: evaluation["sets"][kind]["mask"][name] for name in FIGURES} for kind in ("unseen", "seen")
        )
        per_category = {int(row["id"]): row["mask_ap"] for row in evaluation["categories"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error!r}.", _evaluate(folder)) from error
    return ComparedRun(
        run=folder.resolve().name,
        embedding=config["embedding"],
        form="-" if config["embedding"] == "none" else config["form"],
        split=config["split"],
        unseen=unseen,
        seen=seen,
        training="e2e" if joint else "sw" if record["stage"] == "fit-transfer" else "-",
        trained=frozenset(record.get("seen", ())),
        known=_category_ids(record),
        per_category=per_category,
    )


def _category_ids(record: dict[str, Any]) -> frozenset[int]:
    return frozenset(entry["id"] for entry in record.get("categories", ()))


def _newest_evaluation(folder: Path) -> Path:
    """The record written last; those of all category sets hold the same figures of seen and unseen."""
    records = sorted(folder.glob("evaluation/*/ap-*.json"), key=lambda path: path.stat().st_mtime_ns)
    if not records:
        raise RunError(f"{folder} has not been evaluated.", _evaluate(folder))
    return records[-1]


def _evaluate(folder: Path) -> str:
    return f"run `maskx evaluate --model {folder}`"
