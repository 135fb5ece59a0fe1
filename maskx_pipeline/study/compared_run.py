"""What a run and its evaluations recorded, as far as a comparison needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.errors import RunError, listed
from maskx_pipeline.evaluation.box_iou import MODEL, BoxIou
from maskx_pipeline.evaluation.box_iou_file import read_box_iou
from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS
from maskx_pipeline.evaluation.figures import FIGURES
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.provenance.seals import read_json_file, reason_of
from maskx_pipeline.text import number_text

MAIN_FIGURES = FIGURES[:2]

_NAMED = 20  # runs that were not evaluated


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run: its settings, and its mask AP in percent on ``unseen`` and ``seen``; None where nothing was measured.

    Attributes:
        training: ``sw`` (stage-wise) or ``e2e``, the paper's words; ``-`` for a teacher, which is not trained.
        class_specific: Mask weights per category without T, as the fully supervised oracle has.
        trained: Ids of the categories whose masks it was trained on.
        masks: How many training objects of each of these have a mask; empty where the run did not record it.
        per_category: The figures of each category that was evaluated, by its id.
        evaluated: Where the detections come from and which weights were taken, as in ``cache-best``.
        max_detections: The detections of an image and category that its AP counts.
    """

    run: str
    embedding: str
    form: str
    split: str
    unseen: dict[str, float | None]
    seen: dict[str, float | None]
    training: str = "sw"
    class_specific: bool = False
    trained: frozenset[int] = frozenset()
    masks: dict[int, int] = field(default_factory=dict)
    known: frozenset[int] = frozenset()
    per_category: dict[int, dict[str, float | None]] = field(default_factory=dict)
    evaluated: str = ""
    max_detections: int = MOST_DETECTIONS
    at_boxes: Mapping[str, Any] = field(default_factory=dict)
    box_iou: BoxIou | None = None

    def iou_at_boxes(self, kind: str, source: str = MODEL) -> float | None:
        """The mean mask IoU at the true boxes of ``seen`` or ``unseen`` categories, in percent."""
        found: float | None = self.at_boxes.get(kind, {}).get("iou", {}).get(source, {}).get("mean")
        return found

    def cells(self, figures: Sequence[str], *, iou: bool = False) -> list[str]:
        """The row of the table, with the mask IoU at the true boxes before the figures if ``iou``."""
        numbers: list[float | None] = []
        for kind, row in (("unseen", self.unseen), ("seen", self.seen)):
            numbers += [self.iou_at_boxes(kind)] if iou else []
            numbers += [row[figure] for figure in figures]
        return [self.run, self.embedding, self.form, self.split, *map(number_text, numbers)]


def read_compared_run(folder: Path, figures: Sequence[str] = MAIN_FIGURES) -> ComparedRun:
    """Read a stage-2, e2e or teacher run, and these figures of the newest of its evaluations.

    Raises:
        RunError: The folder is no such run, or was not evaluated.
    """
    content = _read_mask_run(folder)
    is_e2e = content["stage"] == "e2e"
    if is_e2e:
        config = {**content["transfer"], "split": content["config"]["split"]}
    elif content["stage"] == "evaluate-teacher":
        config = dict.fromkeys(("embedding", "form", "split"), "-")
    else:
        config = content["config"]
    path = newest_evaluation(folder)
    try:
        evaluation = read_json_file(path)
        unseen, seen = (
            {name: evaluation["sets"][kind]["mask"][name] for name in figures} for kind in ("unseen", "seen")
        )
        only_ap = tuple(figures) == MAIN_FIGURES  # the AP of a category is in older files too
        per_category = {
            int(row["id"]): {"AP": row["mask_ap"]} if only_ap else {name: row["mask"][name] for name in figures}
            for row in evaluation["categories"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {reason_of(error)}.", _evaluate(folder)) from error
    return ComparedRun(
        run=folder.resolve().name,
        embedding=config["embedding"],
        form=_form(config, folder),
        split=config["split"],
        unseen=unseen,
        seen=seen,
        training="e2e" if is_e2e else "sw" if content["stage"] == "fit-transfer" else "-",
        class_specific=bool(config.get("class_specific")),
        trained=frozenset(content.get("seen", ())),
        masks={int(id_): count for id_, count in content.get("masks", {}).items()},
        known=frozenset(entry["id"] for entry in content.get("categories", ())),
        per_category=per_category,
        evaluated=path.parent.name,
        max_detections=evaluation.get("max_detections", MOST_DETECTIONS),
        at_boxes=evaluation.get("at_boxes", {}).get("sets", {}),
        box_iou=read_box_iou(path.parent),
    )


def check_evaluated(folders: Iterable[Path]) -> None:
    """See that all these runs were evaluated, before any is read.

    Raises:
        RunError: Some were not, and all of those are named; or a folder is no stage-2, e2e or teacher run.
    """
    missing = []
    for folder in folders:
        _read_mask_run(folder)
        if not _evaluations(folder):
            missing.append(folder)
    if missing:
        raise _not_evaluated(missing)


def _read_mask_run(folder: Path) -> dict[str, Any]:
    content = read_run(folder)
    if content["stage"] in ("fit-transfer", "e2e", "evaluate-teacher"):
        return content
    return read_run(folder, stage="fit-transfer")  # says what is wrong with it


def _form(config: Mapping[str, Any], folder: Path) -> str:
    if config["embedding"] == "-":
        return "-"
    model = TransferConfig.from_mapping(config, source=str(folder / "run.json"))
    if model.embedding == "none":
        return model.additions().removeprefix("+") or "-"
    return model.form_name() + model.additions()


def newest_evaluation(folder: Path) -> Path:
    """The evaluation written last; those of all category sets hold the same figures of seen and unseen."""
    evaluations = _evaluations(folder)
    if not evaluations:
        raise _not_evaluated([folder])
    return max(evaluations, key=lambda path: path.stat().st_mtime_ns)


def _evaluations(folder: Path) -> list[Path]:
    return list(folder.glob("evaluation/*/ap-*.json"))


def _not_evaluated(folders: Sequence[Path]) -> RunError:
    if len(folders) == 1:
        return RunError(f"{folders[0]} has not been evaluated.", _evaluate(folders[0]))
    names = listed([str(folder) for folder in folders], _NAMED)
    return RunError(f"{len(folders)} runs have not been evaluated: {names}.", f"{_evaluate('RUN')} for each of them")


def _evaluate(folder: Path | str) -> str:
    return f"run `maskx evaluate --model {folder}`"
