"""What a report shows of `maskx tune`."""

from __future__ import annotations

from pathlib import Path

from report_world import T_NAME, make_study

from maskx_pipeline.config import DataConfig, ReportConfig
from maskx_pipeline.evaluation.expectation import Expectation, Range, record_expectation
from maskx_pipeline.stages.report import report
from maskx_pipeline.study.tuning_plot import plot_tuning

ROWS = [
    {"name": "cls <b>", "kind": "T", "mask_iou": 61.0, "mask_iou_of_folds": [60.0, 62.0]},
    {"name": "ellipse in the box", "kind": "shape", "mask_iou": 55.0, "mask_iou_of_folds": [55.0]},
    {"name": "never", "kind": "agnostic", "mask_iou": None, "mask_iou_of_folds": []},
]


def test_each_measured_design_is_a_bar_with_its_numbers() -> None:
    """Names are escaped; what was not measured is left out."""
    svg = plot_tuning(ROWS, name="t")
    assert svg is not None
    assert "cls &lt;b&gt;: 61.0; folds: 60.0, 62.0" in svg
    assert "ellipse in the box" in svg
    assert "never" not in svg
    assert plot_tuning(ROWS[2:], name="t") is None


def test_a_report_shows_what_a_run_was_chosen_from_and_what_was_expected(tmp_path: Path) -> None:
    """Of the run that tune chose; without one there is no such part."""
    study = make_study(tmp_path / "study")
    data = DataConfig(val_images=study.project / "val", val_annotations=study.project / "val.json")
    runs = [study.baseline, study.transfer]
    before = report(ReportConfig(out=tmp_path / "a.html", images=0), runs, data).read_text("utf-8")
    assert "whose masks were hidden" not in before
    expected = Expectation(Range(61.0, 57.0, 65.0), Range(12.0, 9.0, 15.0), hidden=8, unseen=3)
    record_expectation(study.transfer, expected, beside=ROWS)
    after = report(ReportConfig(out=tmp_path / "b.html", images=0), runs, data).read_text("utf-8")
    assert "mask IoU 61.0 (57.0 to 65.0), mask AP 12.0 (9.0 to 15.0)" in after
    assert "Mask IoU of each design on categories whose masks were hidden" in after
    assert T_NAME not in after  # escaped
