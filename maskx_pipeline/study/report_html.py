"""A report as one HTML page: what is written where, and that nothing in it is taken for markup or loaded."""

from __future__ import annotations

import csv
import datetime
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from maskx_pipeline import __version__
from maskx_pipeline.data.records import Category
from maskx_pipeline.evaluation.expectation import expectation_of
from maskx_pipeline.evaluation.figures import FIGURES
from maskx_pipeline.evaluation.label_fonts import drawable_name
from maskx_pipeline.page import render_page
from maskx_pipeline.settings import option_name
from maskx_pipeline.study.compare import WORDS, Comparison
from maskx_pipeline.study.report_gallery import GalleryItem
from maskx_pipeline.study.report_plots import MOST_BARS, plot_ap, plot_gains, plot_losses, plot_sets
from maskx_pipeline.study.report_runs import CategoryGain, ReportedRun, baseline_of, category_gains
from maskx_pipeline.study.report_svg import RUN_COLOURS
from maskx_pipeline.study.tuning_plot import plot_tuning
from maskx_pipeline.text import number_text

_PACKAGES = ("torch", "torchvision", "numpy", "pycocotools", "matplotlib")


@dataclass(frozen=True, slots=True)
class Gallery:
    """The images of the report, and id, name and seen by label; ``missing`` says why there are none."""

    items: Sequence[GalleryItem] = ()
    run: str = ""
    categories: Mapping[int, tuple[int, str, bool]] = field(default_factory=dict)
    images: int = 0
    score_threshold: float = 0.0
    missing: str = ""

    def choices(self) -> dict[str, list[dict[str, Any]]]:
        """The categories to filter by, unseen ones first: label, name, and in how many images they are."""
        counts = {
            label: sum(label in item.labels for item in self.items)
            for label in sorted({label for item in self.items for label in item.labels})
        }
        groups: dict[str, list[dict[str, Any]]] = {"unseen": [], "seen": []}
        for label, count in counts.items():
            id_, name, seen = self.categories[label]
            groups["seen" if seen else "unseen"].append({"label": label, "id": id_, "name": name, "images": count})
        return groups


def _with_id(name: str, number: int) -> str:
    """A name as the page has it, behind the ``#id`` that stands for it in pictures if it does."""
    drawn = drawable_name(Category(number, name, 1))
    return f"{drawn} {name}" if drawn == f"#{number}" else name


def render_report(
    runs: Sequence[ReportedRun], shown: ReportedRun, *, gallery: Gallery, data: Mapping[str, str], command: str
) -> str:
    """Write the page.

    Args:
        shown: The one whose gains and masks are shown first.
    """
    from markupsafe import Markup

    baseline = baseline_of(shown, runs)
    plots = {"sets": plot_sets(runs), "loss": plot_losses(runs), "ap": plot_ap(runs)}
    return render_page(
        "maskx_pipeline.study",
        "report_template",
        "report",
        filters={"number": number_text, "with_id": _with_id},
        runs=runs,
        run_colours=RUN_COLOURS,
        shown=shown,
        baseline=None if baseline is shown else baseline,
        comparison=_comparison(runs),
        words=len(WORDS),
        verdicts=Comparison(tuple(run.compared for run in runs)).verdicts(),
        figures=FIGURES,
        plots={name: svg and Markup(svg) for name, svg in plots.items()},
        gains=[{**gain, "plot": Markup(gain["plot"])} for gain in _gain_plots(runs, shown)],
        most_bars=MOST_BARS,
        tunings=[{**tuning, "plot": Markup(tuning["plot"])} for tuning in _tunings(runs)],
        categories=_category_rows(runs, shown, baseline),
        gallery=gallery,
        differences=_differences(runs),
        details=[_details(run) for run in runs],
        provenance=_provenance(data, command),
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _comparison(runs: Sequence[ReportedRun]) -> list[list[str]]:
    text = Comparison(tuple(run.compared for run in runs)).to_text("csv")
    return list(csv.reader(io.StringIO(text)))


def _gain_plots(runs: Sequence[ReportedRun], shown: ReportedRun) -> list[dict[str, str]]:
    """A plot for each run that is not its own baseline, the shown one first."""
    plots = []
    for number, run in enumerate(sorted(runs, key=lambda run: run is not shown)):
        baseline = baseline_of(run, runs)
        if baseline is not run:
            rows = category_gains(run, baseline)
            svg = plot_gains(rows, run=run.name, baseline=baseline.name, name=f"g{number}")
            if svg is not None:
                plots.append({"run": run.name, "baseline": baseline.name, "plot": svg})
    return plots


def _tunings(runs: Sequence[ReportedRun]) -> list[dict[str, str]]:
    """Of each run that `maskx tune` chose, what it was chosen from and what was expected of it."""
    found = []
    for number, run in enumerate(runs):
        expected, rows = expectation_of(run.content.get("expected")), run.content.get("chosen_from", ())
        svg = plot_tuning(rows, name=f"t{number}")
        if expected is not None and svg is not None:
            found.append({"run": run.name, "expected": expected.to_text().replace("`", ""), "plot": svg})
    return found


def _category_rows(
    runs: Sequence[ReportedRun], shown: ReportedRun, baseline: ReportedRun
) -> list[tuple[CategoryGain, Mapping[str, Any], list[float | None]]]:
    """The categories by gain, what val has of them, and the AP of every run."""
    ids = sorted(int(entry["id"]) for entry in shown.content.get("categories", ()))
    counts = {int(row["id"]): row for row in shown.evaluation["categories"]}
    return [
        (
            gain,
            counts.get(ids[gain.index], {}),
            [run.compared.per_category.get(ids[gain.index], {}).get("AP") for run in runs],
        )
        for gain in category_gains(shown, baseline)
    ]


def _settings(run: ReportedRun) -> dict[str, Any]:
    """The settings that make the model what it is."""
    transfer = run.content.get("transfer", {}) if run.content["stage"] == "e2e" else {}
    return {**transfer, **run.content["config"]}


def _differences(runs: Sequence[ReportedRun]) -> list[tuple[str, list[str]]]:
    settings = [_settings(run) for run in runs]
    rows = []
    for key in dict.fromkeys(key for of_run in settings for key in of_run):
        values = [_value(of_run.get(key)) for of_run in settings]
        if len(set(values)) > 1:
            rows.append((option_name(key), values))
    return rows


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _details(run: ReportedRun) -> dict[str, Any]:
    """The command, the settings as in maskx.toml, and the digests of one run."""
    content, evaluation = run.content, run.evaluation_content
    commands = [part["command"] for part in (run.detector, content, evaluation) if part and part.get("command")]
    tables = [_toml(part["stage"], part["config"]) for part in (run.detector, content) if part]
    if content["stage"] == "e2e":
        tables.append(_toml("fit-transfer", content.get("transfer", {})))
    facts = {
        "stage": content["stage"],
        "status": content["status"],
        "started": content.get("started"),
        "finished": content.get("finished"),
        "seconds": content.get("seconds"),
        **{f"version of {name}": version for name, version in content.get("versions", {}).items()},
        **content["inputs"],
        "sha256 of the detector": content.get("detector_sha256"),
        "evaluated": evaluation.get("finished"),
        "evaluated from": run.evaluation.get("from"),
        "sha256 of the evaluated weights": evaluation.get("identity", {}).get("weights"),
        "val annotations": run.val_digest,
    }
    return {
        "run": run,
        "commands": commands,
        "config": "\n\n".join(tables),
        "facts": {name: str(value) for name, value in facts.items() if value is not None},
    }


def _toml(stage: str, config: Mapping[str, Any]) -> str:
    """A table as maskx.toml has it; what was not given stands in a remark."""
    lines = [
        f"# {option_name(key)}: not given"
        if value is None
        else f"{option_name(key)} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in config.items()
    ]
    return "\n".join([f"[{stage}]", *lines])


def _provenance(data: Mapping[str, str], command: str) -> dict[str, str]:
    return {
        "command": command,
        "maskx": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        **data,
    }
