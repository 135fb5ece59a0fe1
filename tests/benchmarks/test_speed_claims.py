"""The programs behind the speed claims run, and what they compare with is equal."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import RoIHeads

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.dataset import DetectionDataset

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


@pytest.mark.slow
def test_onnxruntime_is_compared_on_as_many_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the masks of the image and without; and `predict` runs in each way."""
    program = load("whole_onnx", monkeypatch)
    model, half, _ = program.make_models(64, torch.device("cpu"))
    for row in program.compare(model, repeats=1, warm_up=0):
        ours, reference = row[-1].split(" and ")
        assert ours == reference != "0"
    others = {"the same": model, "in bf16": half}
    rows = program.compare_predict(model, others, 1, repeats=1, warm_up=0)
    assert [row[0] for row in rows] == list(others)


@pytest.mark.slow
def test_the_joint_step_is_compared_on_as_many_rois(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both sample 128 RoIs of objects, the share that is sampled at most."""
    program = load("e2e_step", monkeypatch)
    data = program.make_data(tmp_path, images=1, size=96)
    sampled = []
    select = RoIHeads.select_training_samples

    def counted(self: RoIHeads, *arguments: Any) -> Any:
        found = select(self, *arguments)
        sampled.append(int((found[2][0] > 0).sum()))
        return found

    monkeypatch.setattr(RoIHeads, "select_training_samples", counted)
    everything = [category.label for category in data.categories]
    program.our_step(data, images=1, size=96, amp="off", seen=everything)()
    program.torchvision_step(data, images=1, size=96, amp="off")()
    assert sampled == [128, 128]


@pytest.mark.slow
def test_evaluation_from_the_cache_is_compared_with_the_same_ap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program stops where the two differ; the export is timed against the detector on the same images."""
    program = load("from_cache", monkeypatch)
    data = program.make_project(tmp_path, images=3, side=96, detections=5)
    (_, whole, images), (_, needed, _) = program.time_export(tmp_path, data, repeats=1)
    assert images == 6
    assert min(whole.ours + whole.reference + needed.reference) > 0
    _, measured, images = program.time_evaluation(tmp_path, data, repeats=1)
    assert images == 3
    assert measured.ratio > 1


def test_one_cache_costs_less_than_trainings_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figure 3: the sums are those of their parts, and the detector is counted once with a cache."""
    model = load("recipe_costs_model", monkeypatch)
    costs = {"head": {"fcn": 0.0}, "head_forward": {"fcn": 0.0}, "head_parameters": {"fcn": 1}}
    measured = model.Measured(**costs, detector=1e12, forward=0.0, detector_parameters=1, paste_seconds=0.0)
    rows = load("figure3_costs", monkeypatch).compare(measured)
    assert [row[2] for row in rows] == ["1.0x", "1.0x", "25.0x"]


def test_padding_is_counted_as_batches_are_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide and a high image together: by hand, of 1066 x 800 and 800 x 1066, a frame of 1088 x 1088 for each."""
    padding = load("padding", monkeypatch)
    sizes = np.array([(480.0, 640.0), (640.0, 480.0)])
    mixed = padding.padded_share(sizes, 2, 2, 5, group=False)
    assert mixed == pytest.approx(2 * 1088**2 / (2 * 1066 * 800))
    alone = padding.padded_share(sizes, 2, 1, 5, group=False)
    assert alone == pytest.approx(1088 * 800 / (1066 * 800))
    alike = padding.padded_share(np.repeat(sizes, 50, axis=0), 2, 2, 1, group=True)
    assert alike == pytest.approx(alone)


def test_the_data_of_the_load_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each box lies in its image and each image can be read, so that what is measured is what a user has."""
    load("load", monkeypatch).write_data_set(tmp_path, images=6, boxes=60)
    train = read_coco(tmp_path / "train.json", tmp_path / "train")
    assert not train.problems
    assert (len(train.images), len(train.annotations())) == (6, 60)
    batch = DetectionDataset(train, flip_probability=0.0, seed=0)
    assert {tuple(batch[number][0].shape) for number in range(len(batch))} == {(3, 72, 96)}
