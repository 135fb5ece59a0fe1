"""The programs behind the speed claims run, and what they compare with is equal."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a program from the folder of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def test_pasting_is_compared_with_equal_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last column counts RLE that differ."""
    rows = load("paste_rle", monkeypatch).compare(masks=3, repeats=1)
    assert [row[-1] for row in rows] == ["0 of 3"] * 4


def test_average_precision_is_compared_with_equal_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes and masks; the AP is neither all nor nothing."""
    rows = load("average_precision", monkeypatch).compare(images=3, detections=40, categories=2, repeats=1)
    for row in rows:
        assert row[-2] == f"0 of {10 * 101 * 2 * 4}"
        assert 1 < float(row[-1]) < 99


@pytest.mark.slow
def test_many_categories_need_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """And torchvision's predictor does, so the measurement sees it."""
    ours, torchvisions = load("many_categories", monkeypatch).compare(rois=2, repeats=1, few=8, many=800)
    assert float(ours[-1].removesuffix("x")) <= 1.05
    assert float(torchvisions[-1].removesuffix("x")) > 1.5


@pytest.mark.slow
def test_inference_is_compared_on_as_many_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both detectors have the same weights."""
    rows = load("inference", monkeypatch).compare(size=64, repeats=1, warm_up=0)
    for row in rows[:2]:
        ours, reference = row[-1].split(" and ")
        assert ours == reference != "0"
