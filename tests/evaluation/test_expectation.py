"""What to expect on new categories: means, intervals over categories, and how they are kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.evaluation.expectation import (
    Expectation,
    Range,
    expect,
    expectation_of,
    range_of_mean,
    record_expectation,
)
from maskx_pipeline.provenance.run_folder import read_run


def test_the_interval_is_as_wide_as_the_normal_one() -> None:
    """Of many values: 1.96 standard errors, which for the mean over m new ones are s * sqrt(1/n + 1/m)."""
    values = np.random.default_rng(0).normal(60, 8, 400)
    error = values.std(ddof=1)
    for of, wanted in ((None, error * math.sqrt(1 / 400)), (50, error * math.sqrt(1 / 400 + 1 / 50))):
        found = range_of_mean(values.tolist(), of=of)
        assert found.mean == pytest.approx(values.mean())
        assert found.low is not None
        assert found.high is not None
        assert found.high - found.low == pytest.approx(2 * 1.96 * wanted, rel=0.06)
        assert (found.high + found.low) / 2 == pytest.approx(found.mean, abs=0.1 * wanted * 2)


def test_it_holds_the_mean_of_new_categories_about_as_often_as_it_says() -> None:
    """Twelve measured, twenty to come, of one distribution: 95 of 100, less what a bootstrap of so few lacks."""
    generator = np.random.default_rng(1)
    held = 0
    for trial in range(400):
        measured, new = generator.normal(60, 8, 12), generator.normal(60, 8, 20)
        found = range_of_mean(measured.tolist(), of=20, seed=trial)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= new.mean() <= found.high
    assert 0.90 < held / 400 < 0.98


def test_equal_values_leave_no_doubt() -> None:
    """Their interval is a point."""
    assert range_of_mean([70.0] * 6, of=9) == Range(70.0, 70.0, 70.0)


@pytest.mark.parametrize("values", [[60.0], [60.0, 62.0], [60.0, 61.0, 62.0, 63.0]])
def test_few_categories_have_no_interval(values: list[float]) -> None:
    """Fewer than five."""
    assert range_of_mean(values, of=3) == Range(sum(values) / len(values))


def test_what_could_not_be_measured_is_left_out() -> None:
    """NaN is no category; without any there is no mean."""
    nan = float("nan")
    found = expect([60.0, nan, 62.0], [nan, nan, nan], unseen=4)
    assert (found.mask_iou, found.hidden) == (Range(61.0), 2)
    assert math.isnan(found.mask_ap.mean)
    assert found.to_json()["mask_ap"] == {"mean": None, "low": None, "high": None}


def test_an_interval_ends_where_figures_do() -> None:
    """AP is not below 0, nor above 100."""
    found = expect([99.0] * 5 + [50.0], [0.0] * 5 + [1.0], unseen=1)
    assert found.mask_ap.low == 0.0
    assert found.mask_iou.high == 100.0


def test_a_run_keeps_its_expectation(tmp_path: Path) -> None:
    """In its run.json, and read as it was recorded; None where none was."""
    run = open_run(tmp_path / "run", stage="fit-transfer", identity={}, config={}, inputs={})
    run.finish()
    assert expectation_of(read_run(run.folder).get("expected")) is None
    expected = Expectation(Range(60.0, 55.0, 65.0), Range(float("nan")), hidden=6, unseen=9)
    record_expectation(run.folder, expected)
    found = expectation_of(read_run(run.folder)["expected"])
    assert found is not None
    assert found.to_json() == expected.to_json()
    assert "mask IoU 60.0 (55.0 to 65.0), mask AP -" in found.to_text()
