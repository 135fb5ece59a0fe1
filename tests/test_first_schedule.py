"""The schedule that `maskx init` writes for the data it finds; values by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskx_pipeline.commands import run
from maskx_pipeline.config import DataConfig, DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.config.first_schedule import default_passes, first_schedule
from maskx_pipeline.project import read_project


@pytest.mark.parametrize("images", [118_287, 117_266])
def test_coco_on_8_gpus_gets_the_papers_schedule(images: int) -> None:
    """All images of train2017, and those with a box: what the recipes train with, the defaults of the settings."""
    schedule = first_schedule(images, 5000, gpus=8)
    defaults = DetectConfig()
    assert schedule == {
        name.replace("_", "-"): getattr(defaults, name)
        for name in (
            "images_per_batch", "lr", "iterations", "steps", "warmup_iterations", "eval_every", "checkpoint_every",
        )
    }  # fmt: skip
    assert (schedule["iterations"], schedule["lr"]) == (90_000, 0.02)


def test_fewer_gpus_train_longer_at_a_lower_rate() -> None:
    """Detectron's schedules for one GPU and for four, by the linear rule."""
    one, four = (first_schedule(118_287, 5000, gpus=gpus) for gpus in (1, 4))
    assert (one["lr"], one["iterations"], one["steps"]) == (0.0025, 720_000, (480_000, 640_000))
    assert (four["images-per-batch"], four["lr"], four["iterations"]) == (8, 0.01, 180_000)


def test_passes_are_kept_to_the_image() -> None:
    """12 x 2,000 / 2, drops at 2/3 and 8/9; 24,000 images are trained on, and 300 measured up to 18 times."""
    schedule = first_schedule(2000, 300, gpus=1, passes=12)
    assert (schedule["iterations"], schedule["steps"]) == (12_000, (8000, 10_667))
    assert (schedule["warmup-iterations"], schedule["eval-every"]) == (500, 666)


def test_few_images_get_more_passes_but_a_hundred_at_most() -> None:
    """A quarter of COCO: twice the passes. 298 images: 100 passes, not 90,000 iterations."""
    assert default_passes(118_287) == pytest.approx(12.17, abs=0.01)
    assert default_passes(118_287 // 4) == pytest.approx(2 * default_passes(118_287), rel=1e-3)
    schedule = first_schedule(298, 50, gpus=1)
    assert (schedule["iterations"], schedule["lr"]) == (15_000, 0.0025)


def test_a_short_training_warms_up_briefly_and_is_measured_once() -> None:
    """343 images once, 4 at a time on a CPU: 86 iterations. To measure 143 images four times would cost more."""
    schedule = first_schedule(343, 143, gpus=0, passes=1)
    assert (schedule["iterations"], schedule["warmup-iterations"], schedule["eval-every"]) == (86, 8, 0)
    assert first_schedule(3, 1, gpus=1, passes=0.1)["iterations"] == 1
    assert first_schedule(343, 143, gpus=0)["iterations"] == 1000  # 12 passes: 1,029


def _data(folder: Path, *, boxes: int = 3) -> list[str]:
    """Four images, three of which have a box; words for `maskx init`."""
    (folder / "images").mkdir(parents=True)
    for number in range(1, 5):
        Image.fromarray(np.zeros((16, 20, 3), np.uint8)).save(folder / "images" / f"{number}.png")
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [2, 2, 8, 8], "area": 64, "iscrowd": int(n > boxes)}
        for n in range(1, 5)
    ]
    images = [{"id": n, "file_name": f"{n}.png", "width": 20, "height": 16} for n in range(1, 5)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (folder / "a.json").write_text(json.dumps(content))
    words = []
    for part in ("train", "val"):
        words += [f"--{part}-images", str(folder / "images"), f"--{part}-annotations", str(folder / "a.json")]
    return words


def test_init_counts_the_images_with_boxes_and_writes_relative_paths(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A crowd is no box to learn from. Project and data can be moved together, and read from anywhere."""
    logging.getLogger("maskx").propagate = True
    words = _data(tmp_path / "data")
    project = tmp_path / "projects" / "mine"
    assert run(["init", "--project", str(project), "--passes", "12", "--gpus", "1", *words]) == 0
    text = (project / "maskx.toml").read_text()
    assert 'train-images = "../../data/images"' in text
    assert 'val-annotations = "../../data/a.json"' in text
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "projects").rename(moved / "projects")
    (tmp_path / "data").rename(moved / "data")
    found = read_project(moved / "projects" / "mine")
    assert found.load(DataConfig).train_annotations.resolve() == moved / "data" / "a.json"
    for config in (found.load(DetectConfig), found.load(E2EConfig)):  # 12 x 3 / 2
        assert (config.iterations, config.steps, config.images_per_batch) == (18, (12, 16), 2)
        assert (config.lr, config.warmup_iterations) == (0.0025, 1)
    assert found.load(DetectConfig).backbone_weights == "imagenet"


def test_without_gpus_everything_is_small(tmp_path: Path) -> None:
    """No download, and a narrow mask head; weights may be asked for."""
    words = _data(tmp_path / "data")
    assert run(["init", "--project", str(tmp_path / "a"), "--gpus", "0", *words]) == 0
    project = read_project(tmp_path / "a")
    detect = project.load(DetectConfig)
    assert (detect.backbone, detect.backbone_weights, detect.max_size) == ("resnet18", "none", 256)
    assert project.load(TransferConfig).head_width == 64
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"")
    words += ["--backbone-weights", str(weights)]
    assert run(["init", "--project", str(tmp_path / "b"), "--gpus", "0", *words]) == 0
    assert read_project(tmp_path / "b").load(DetectConfig).backbone_weights == str(weights)


def test_data_without_boxes_and_options_of_other_data_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to make a schedule from; shapes has its own."""
    words = _data(tmp_path / "data", boxes=0)
    assert run(["init", "--project", str(tmp_path / "a"), *words]) == 1
    assert "has a box" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert run(["init", "--project", str(tmp_path / "a"), "--shapes", "--passes", "3"]) == 2
