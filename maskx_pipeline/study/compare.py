"""The runs of a study side by side: what their evaluations recorded, as one table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline import text
from maskx_pipeline.evaluation.box_iou import SHAPES
from maskx_pipeline.evaluation.figures import FIGURES
from maskx_pipeline.study import directions
from maskx_pipeline.study.box_verdicts import verdicts_of_runs
from maskx_pipeline.study.compared_run import MAIN_FIGURES, ComparedRun, check_evaluated, read_compared_run
from maskx_pipeline.study.directions import SIDES, DirectionTable, both_directions, column_names
from maskx_pipeline.text import number_text

logger = logging.getLogger("maskx")

WORDS = ("run", "embedding", "form", "trained on")
IOU = "IoU"
"""The column of the mean mask IoU at the true boxes."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs in the order asked for; laid out like the paper's tables where they are of both directions of a split.

    With ``all_figures`` each AP stands with AP50, AP75, APS, APM and APL, as in Table 2.
    """

    runs: tuple[ComparedRun, ...]
    all_figures: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON: the runs, and ``methods`` where they are of both directions of a split."""
        table = both_directions(self.runs)
        runs = [
            {
                "run": row.run,
                "embedding": row.embedding,
                "form": row.form,
                "split": row.split,
                "evaluated": row.evaluated,
                "unseen mask": row.unseen,
                "seen mask": row.seen,
                "at boxes": {kind: row.at_boxes.get(kind) for kind in ("unseen", "seen")},
            }
            for row in self.runs
        ]
        found = {"runs": runs, "shapes in the box": self._shapes(), "verdicts": self.verdicts()}
        return found if table is None else {**found, "methods": table.to_json(self._direction_figures)}

    def verdicts(self) -> list[str]:
        """Who has the best masks at the true boxes, a sentence on unseen and one on seen categories.

        None where the runs were not measured on the same objects, or their seen categories differ.
        """
        return verdicts_of_runs(self.runs)

    def _shapes(self) -> dict[str, dict[str, float | None]]:
        """The IoU of the shapes in the box, where they are of the same objects in all runs."""
        found = {}
        for shape in SHAPES:
            means = {(row.iou_at_boxes("unseen", shape), row.iou_at_boxes("seen", shape)) for row in self.runs}
            if len(means) == 1 and means != {(None, None)}:
                unseen, seen = means.pop()
                found[shape] = {"unseen": unseen, "seen": seen}
        return found

    def to_text(self, style: str = "text") -> str:
        """The table as ``text``, ``markdown`` or ``csv``."""
        table = both_directions(self.runs)
        if table is not None:
            return _both_directions_text(table, style, self._direction_figures)
        figures = FIGURES if self.all_figures else MAIN_FIGURES
        iou = [IOU] if any(row.at_boxes for row in self.runs) else []
        header = [*WORDS, *(f"{name} {figure}" for name in ("unseen", "seen") for figure in (*iou, *figures))]
        rows = [row.cells(figures, iou=bool(iou)) for row in self.runs]
        for shape, means in self._shapes().items():
            ious = [[number_text(means[kind]), *("-" for _ in figures)] for kind in ("unseen", "seen")]
            rows.append([shape, "-", "-", "-", *ious[0], *ious[1]])
        found = text.table(header, rows, words=text.first(len(WORDS), header), style=style)
        verdicts = self.verdicts() if style == "text" else []
        return "\n".join([found, *([""] if verdicts else []), *verdicts])

    @property
    def _direction_figures(self) -> Sequence[str]:
        return FIGURES if self.all_figures else ("AP",)


def compare_runs(folders: Iterable[Path], *, all_figures: bool = False) -> Comparison:
    """Read what ``maskx evaluate`` recorded last in the folders of stage-2 and e2e runs.

    Warns where some were evaluated with their best weights and others with their last, or with another limit of
    detections.

    Raises:
        RunError: A folder is no such run, or some were not evaluated.
    """
    figures = FIGURES if all_figures else MAIN_FIGURES
    folders = list(folders)
    check_evaluated(folders)
    runs = tuple(read_compared_run(folder, figures) for folder in folders)
    last, best = ([row.run for row in runs if row.evaluated.endswith(end)] for end in ("-last", "-best"))
    if last and best:  # masks by a teacher are of neither
        logger.warning(
            "The runs were not evaluated with the same checkpoint: %s with the last weights, the others with the best. "
            "Evaluate again with --checkpoint to compare like with like.",
            ", ".join(last),
        )
    limits = sorted({row.max_detections for row in runs})
    if len(limits) > 1:
        logger.warning(
            "The AP of these runs counts different numbers of detections of an image and category: %s. Evaluate again "
            "with one --max-detections to compare like with like.",
            " and ".join(map(str, limits)),
        )
    return Comparison(runs, all_figures)


def _both_directions_text(table: DirectionTable, style: str, figures: Sequence[str]) -> str:
    if style != "text":
        columns = [f"{direction.name}: {name}" for direction in table.directions for name in column_names(figures)]
        header = [*directions.WORDS, *columns]
        rows = [[row.method, row.training, *map(number_text, table.numbers(row, figures))] for row in table.rows]
        return text.table(header, rows, words=text.first(len(directions.WORDS), header), style=style)
    if len(figures) == 1:
        return _block(table, [direction.name for direction in table.directions], column_names(figures), figures, SIDES)
    # As in Table 2, all figures of a set stand side by side, and the sets below one another.
    return "\n\n".join(
        _block(table, [f"{direction.name}: on {side}" for direction in table.directions], figures, figures, side)
        for side in SIDES
    )


def _block(
    table: DirectionTable, above: Sequence[str], header: Sequence[str], figures: Sequence[str], sides: Sequence[str]
) -> str:
    """For the terminal: each direction stands above its columns, which share its width."""
    rows = [[row.method, row.training, *map(number_text, table.numbers(row, figures, sides))] for row in table.rows]
    gaps = 2 * (len(header) - 1)
    column = max(len("100.0"), *map(len, header), -(-(max(map(len, above)) - gaps) // len(header)))
    words = directions.WORDS
    columns = [*words, *(name.rjust(column) for _ in above for name in header)]
    body = text.table(columns, rows, words=text.first(len(words), columns))
    line = "  ".join(name.rjust(len(header) * column + gaps) for name in above)
    return line.rjust(max(map(len, body.splitlines()))) + "\n" + body
