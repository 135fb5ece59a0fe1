"""`maskx doctor` on the command line: exit codes, --env, --estimate, text and JSON."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch

from maskx_pipeline.cache.plan import ImageSeconds
from maskx_pipeline.commands import run
from maskx_pipeline.stages import costs
from maskx_pipeline.text import format_seconds

STAGES = ["detect train", "export-embeddings", "fit-transfer", "evaluate", "e2e (in place of fit-transfer)"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    """A project on a few small images, with a detector small enough to be timed."""
    folder = tmp_path_factory.mktemp("doctor")
    counts = ("--shapes-train-count", "12", "--shapes-val-count", "6", "--shapes-image-size", "48")
    assert run(["init", "--shapes", "--project", str(folder), *counts]) == 0
    toml = (folder / "maskx.toml").read_text()
    toml = toml.replace("fpn-channels = 64", "fpn-channels = 16").replace("box-head-dim = 256", "box-head-dim = 32")
    (folder / "maskx.toml").write_text(toml)
    return folder


def _doctor(folder: Path, *options: str) -> int:
    with contextlib.chdir(folder):
        return run(["doctor", *options])


def _without_masks(shapes: Path, folder: Path) -> Path:
    """The same project with boxes alone."""
    toml = (shapes / "maskx.toml").read_text().replace('"data/shapes', f'"{shapes}/data/shapes')
    train = json.loads((shapes / "data/shapes/train.json").read_text())
    for annotation in train["annotations"]:
        annotation["segmentation"] = []
    (folder / "train.json").write_text(json.dumps(train))
    (folder / "maskx.toml").write_text(toml.replace(f"{shapes}/data/shapes/train.json", "train.json"))
    return folder


def test_a_sound_data_set_exits_with_0(shapes, capsys):
    """And prints nothing of times that were not asked for."""
    assert _doctor(shapes) == 0
    out = capsys.readouterr().out
    assert "=box" in out
    assert "measured" not in out


def test_boxes_alone_exit_with_3_and_nothing_is_estimated(shapes, tmp_path, capsys):
    """Whatever was asked for: that masks are needed is all there is to say."""
    _without_masks(shapes, tmp_path)
    assert _doctor(tmp_path, "--estimate") == 3
    printed = capsys.readouterr()
    assert "at least one category with masks is needed" in printed.err
    assert "fit-transfer" not in printed.out + printed.err
    assert _doctor(tmp_path, "--estimate", "--json") == 3
    report = json.loads(capsys.readouterr().out)
    assert "estimate" not in report
    assert len(report["fatal"]) == 1


def test_training_follows_the_doctor(shapes, tmp_path, capsys):
    """What it calls an error stops every command that trains, before anything is written, unless it is accepted."""
    toml = (shapes / "maskx.toml").read_text().replace('"data/shapes', f'"{shapes}/data/shapes')
    train = json.loads((shapes / "data/shapes/train.json").read_text())
    for annotation in train["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    (tmp_path / "train.json").write_text(json.dumps(train))
    toml = toml.replace(f"{shapes}/data/shapes/train.json", "train.json")
    (tmp_path / "maskx.toml").write_text(toml)
    assert _doctor(tmp_path) == 3
    with contextlib.chdir(tmp_path):
        assert run(["detect", "train"]) == 3
    assert "boxes look like corners" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    kinds = ["boxes look like corners", "box partly outside the image"]
    assert _doctor(tmp_path, *(part for kind in kinds for part in ("--accept", kind))) == 0
    reasons = ", ".join(f'"{kind}: a test"' for kind in kinds)
    (tmp_path / "maskx.toml").write_text(f"{toml}\n[doctor]\naccept = [{reasons}]\n")
    capsys.readouterr()
    assert _doctor(tmp_path, "--json") == 0
    accepted = {one["kind"]: one["accepted"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert accepted["boxes look like corners"] == "a test"


def test_each_stage_is_estimated(shapes, capsys):
    """Time and disk of each, what was measured and what assumed; nothing is written."""
    before = sorted(shapes.rglob("*"))
    assert _doctor(shapes, "--estimate", "--json") == 0
    estimate = json.loads(capsys.readouterr().out)["estimate"]
    assert [stage["stage"] for stage in estimate["stages"]] == STAGES
    assert all(stage["seconds"] > 0 for stage in estimate["stages"])
    assert [stage["bytes"] is None for stage in estimate["stages"]] == [False, False, False, True, False]
    assert len(estimate["measured"]) == 3
    assert estimate["assumed"]
    assert sorted(shapes.rglob("*")) == before


def test_times_grow_with_what_is_asked_for(shapes, capsys, monkeypatch):
    """Twice the iterations and epochs take twice as long, where the costs of a step are the same."""
    monkeypatch.setattr("maskx_pipeline.stages.estimate.seconds_of_detector_step", lambda *a, **k: 2.0)
    monkeypatch.setattr("maskx_pipeline.stages.estimate.measure_export", lambda *a, **k: ImageSeconds(0.0, 0.0))
    head = costs.HeadCosts(step=0.5, mask=0.0, parameters=10, device=torch.device("cpu"))
    monkeypatch.setattr("maskx_pipeline.stages.estimate.head_costs", lambda *a, **k: head)
    monkeypatch.setenv("MASKX_DETECT_ITERATIONS", "7")
    monkeypatch.setenv("MASKX_FIT_TRANSFER_EPOCHS", "3")
    assert _doctor(shapes, "--estimate", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    seconds = {stage["stage"]: stage["seconds"] for stage in report["estimate"]["stages"]}
    assert seconds["detect train"] == 7 * 12 * 2.0
    masks = sum(row["train_masks"] for row in report["categories"])
    assert (
        seconds["fit-transfer"] == 3 * masks * 2 * 2 * 0.5
    )  # the object's box and one proposal, and as many without masks
    assert report["estimate"]["stages"][2]["bytes"] == 160


def test_a_schedule_that_is_long_for_the_data_is_noted(shapes, capsys, monkeypatch):
    """The default is the paper's, for COCO: on a few hundred images it is thousands of passes."""
    monkeypatch.setattr("maskx_pipeline.stages.estimate.seconds_of_detector_step", lambda *a, **k: 1.0)
    monkeypatch.setattr("maskx_pipeline.stages.estimate.measure_export", lambda *a, **k: ImageSeconds(1.0, 1.0))
    head = costs.HeadCosts(step=0.5, mask=0.0, parameters=10, device=torch.device("cpu"))
    monkeypatch.setattr("maskx_pipeline.stages.estimate.head_costs", lambda *a, **k: head)
    images = len(json.loads((shapes / "data" / "shapes" / "train.json").read_text())["images"])
    monkeypatch.setenv("MASKX_DETECT_IMAGES_PER_BATCH", "1")
    for passes, noted in ((150, False), (500, True)):
        monkeypatch.setenv("MASKX_DETECT_ITERATIONS", str(passes * images))
        assert _doctor(shapes, "--estimate") == 0
        note = f"note: The schedule in [detect] goes 500 times through {images} images"
        assert (note in capsys.readouterr().out) == noted


def test_env_needs_no_project(tmp_path, capsys):
    """For a question to others, or before anything is begun."""
    assert _doctor(tmp_path, "--env") == 0
    assert "precision  --amp auto computes in" in capsys.readouterr().out
    assert _doctor(tmp_path, "--env", "--json") == 0
    assert json.loads(capsys.readouterr().out)["versions"]["torch"]
    assert not list(tmp_path.iterdir())


def test_env_and_estimate_are_two_things(tmp_path, capsys):
    """Wrong usage, said as such."""
    assert _doctor(tmp_path, "--env", "--estimate") == 2
    assert "one of the two" in capsys.readouterr().err


def test_an_estimate_for_a_device_that_is_not_there_is_a_known_error(shapes, capsys, monkeypatch):
    """The report of the data comes first."""
    monkeypatch.setenv("MASKX_DETECT_DEVICE", "quantum")
    assert _doctor(shapes, "--estimate") == 1
    printed = capsys.readouterr()
    assert "not a device" in printed.err
    assert "verdict" in printed.out


def test_seconds_are_written_for_people():
    """In the unit in which they are easy to read."""
    written = [format_seconds(s) for s in (0.0123, 0.5, 90, 200, 8000, 300_000)]
    assert written == ["12 ms", "0.50 s", "90.0 s", "3.3 min", "2.2 h", "3.5 days"]
