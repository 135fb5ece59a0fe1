"""What a report shows of each run: all that the run, its evaluation and its detector recorded."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.engine.runlog import METRICS_FILE
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.run_folder import RUN_FILE, read_run
from maskx_pipeline.provenance.seals import read_json_file, value_of
from maskx_pipeline.study.compared_run import ComparedRun, check_evaluated, newest_evaluation, read_compared_run

logger = logging.getLogger("maskx")

_LOSSES = ("mask_loss", "loss_mask", "loss")  # of stage 2, of joint training, and of anything else


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """One run of a report.

    Attributes:
        name: Its folder's name, with as much of the path before it as makes it different from the others.
        compared: Its settings and AP, as ``maskx compare`` reads them.
        detector: That of its detector's run.json; None where that run is gone.
        evaluation: The newest evaluation, as ``maskx evaluate`` wrote it.
        evaluation_content: The content of its run.json; empty where it has none of its own.
        results_file: The masks that were measured, which may be gone.
    """

    name: str
    folder: Path
    compared: ComparedRun
    content: dict[str, Any]
    detector: dict[str, Any] | None
    evaluation: dict[str, Any]
    evaluation_content: dict[str, Any]
    results_file: Path
    metrics: tuple[dict[str, Any], ...]

    @property
    def is_agnostic(self) -> bool:
        """Whether this is the class-agnostic baseline: trained, without T, one mask for all categories."""
        return self.compared.embedding == "none" and not self.compared.class_specific

    @property
    def val_digest(self) -> str | None:
        """SHA-256 (hex) of the annotation file that it was measured against."""
        inputs = self.evaluation_content.get("inputs", {}) or self.content["inputs"]
        digest: str | None = inputs.get("val annotations")
        return digest

    def losses(self) -> list[tuple[float, float]]:
        """(step, mask loss) of the training; the whole loss where that of the masks was not recorded."""
        key = next((key for key in _LOSSES if any(key in line for line in self.metrics)), _LOSSES[-1])
        return self._series(key)

    def measured(self, figure: str) -> list[tuple[float, float]]:
        """(step, value) of a figure measured in training, such as ``unseen_mask_ap``, each step once."""
        return list(dict(self._series(figure)).items())

    def _series(self, key: str) -> list[tuple[float, float]]:
        return [
            (float(line["step"]), float(line[key])) for line in self.metrics if isinstance(line.get(key), int | float)
        ]


@dataclass(frozen=True, slots=True)
class CategoryGain:
    """The mask AP of one category beside that of the baseline, in percent; None where nothing was measured.

    ``index`` is the category's place, from 0, in the order of ids: the same as its label less one.
    """

    index: int
    name: str
    seen: bool
    ap: float | None
    baseline_ap: float | None

    @property
    def gain(self) -> float | None:
        """In percentage points."""
        return None if self.ap is None or self.baseline_ap is None else self.ap - self.baseline_ap


def read_reported_runs(folders: Sequence[Path]) -> tuple[ReportedRun, ...]:
    """Read evaluated runs, in this order; a folder that is named twice counts once.

    Raises:
        RunError: A folder is no run of a mask model, some were not evaluated, or its files cannot be read.
    """
    distinct = list({folder.resolve(): folder for folder in folders}.values())
    check_evaluated(distinct)
    names = _different_names(distinct)
    return tuple(_read(folder, name) for folder, name in zip(distinct, names, strict=True))


def baseline_of(run: ReportedRun, runs: Sequence[ReportedRun]) -> ReportedRun:
    """What a run is measured by: the class-agnostic run of its split, else any class-agnostic one, else the first."""
    same_split = [other for other in runs if other.compared.trained == run.compared.trained]
    return next((other for other in [*same_split, *runs] if other.is_agnostic), runs[0])


def shown_run(runs: Sequence[ReportedRun]) -> ReportedRun:
    """The run whose masks are shown: that with the best AP on unseen categories among those with T, else among all."""
    others = [run for run in runs if baseline_of(run, runs) is not run]
    with_t = [run for run in others if run.compared.embedding not in ("none", "-")]
    # max() takes the first of equals.
    return max(with_t or others or runs, key=lambda run: -1.0 if (ap := run.compared.unseen["AP"]) is None else ap)


def category_gains(run: ReportedRun, baseline: ReportedRun) -> list[CategoryGain]:
    """The categories by falling gain over the baseline, then those without, which were not measured in both."""
    names = {int(entry["id"]): str(entry["name"]) for entry in run.content.get("categories", ())}
    gains = [
        CategoryGain(
            index=index,
            name=names[id_],
            seen=id_ in run.compared.trained,
            ap=run.compared.per_category.get(id_, {}).get("AP"),
            baseline_ap=baseline.compared.per_category.get(id_, {}).get("AP"),
        )
        for index, id_ in enumerate(sorted(names))
    ]
    return sorted(gains, key=lambda row: (row.gain is None, -(row.gain or 0.0), row.index))


def _read(folder: Path, name: str) -> ReportedRun:
    compared, content = read_compared_run(folder), read_run(folder)
    path = newest_evaluation(folder)
    has_run = (path.parent / RUN_FILE).is_file()
    return ReportedRun(
        name=name,
        folder=folder,
        compared=compared,
        content=content,
        detector=_detector(folder, content),
        evaluation=read_json_file(path),
        evaluation_content=read_run(path.parent) if has_run else {},
        results_file=path.parent / "results.json",
        metrics=_metrics(folder / METRICS_FILE),
    )


def _detector(folder: Path, content: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return read_run(folder / content["detector"])
    except (KeyError, RunError):
        return None  # a model is fitted and evaluated without it


def _metrics(path: Path) -> tuple[dict[str, Any], ...]:
    """The lines of metrics.jsonl; one that an interruption cut off is left out."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = value_of(line)
        except ValueError as error:
            if line.endswith(b"\n"):
                logger.warning("%s: line %d is left out: %s.", path, number, error)
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int | float):
            rows.append(row)
    return tuple(rows)


def _different_names(folders: Sequence[Path]) -> list[str]:
    parts = [folder.resolve().parts for folder in folders]
    lengths = [1] * len(parts)
    while True:
        names = ["/".join(part[-length:]) for part, length in zip(parts, lengths, strict=True)]
        counts = Counter(names)
        longer = [
            min(length + (counts[name] > 1), len(part))
            for name, length, part in zip(names, lengths, parts, strict=True)
        ]
        if longer == lengths:
            return names
        lengths = longer
