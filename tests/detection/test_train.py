"""Stage 1: training, resuming, loading."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from e2e_world import detect_config, write_data
from faults_world import Zygote
from tiny_detector import CATEGORIES, train
from torchvision.ops import FrozenBatchNorm2d

from maskx_pipeline.config import DetectConfig, E2EConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.detection import image_training
from maskx_pipeline.detection.backbone import build_backbone
from maskx_pipeline.detection.identity import identity_of
from maskx_pipeline.detection.load import load_detector
from maskx_pipeline.detection.train import train_detector
from maskx_pipeline.engine.checkpoint import load_weights, save_weights
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import ConfigError, RunError, WeightsError

_PROGRAM = Path(__file__).with_name("tiny_detector.py")


def test_killed_training_resumes_bit_identically(trained: Path, tmp_path: Path, zygote: Zygote) -> None:
    """Rule 4: SIGKILL between two saved states changes no bit of weights or metrics."""
    assert zygote.python(_PROGRAM, tmp_path, "5").wait(120).code == -signal.SIGKILL
    run = tmp_path / "run"
    assert json.loads((run / "run.json").read_text())["step"] == 4
    train(tmp_path)
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        assert (run / name).read_bytes() == (trained / name).read_bytes(), name


def test_a_prolonged_training_is_one_that_was_longer_from_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the schedules agree up to there, to the bit; and what changes is said."""
    train(tmp_path / "long", iterations=10, steps=(8,))
    train(tmp_path / "short", steps=(8,))
    with caplog.at_level(logging.INFO, logger="maskx"):
        run = train(tmp_path / "short", iterations=10, steps=(8,))
    for name in ("last.safetensors", "best.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "long" / "run" / name).read_bytes(), name
    assert "iterations: 6 -> 10" in caplog.text
    assert "Of 10 steps 6 are done; the learning rate was 0.01, and goes on with 0.01." in caplog.text
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["step"], record["config"]["iterations"]) == ("finished", 10, 10)
    assert record["prolonged"] == [{"step": 6, "before": {"iterations": 6}}]


def test_a_schedule_much_longer_than_the_papers_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is COCO's: on a few hundred images it is thousands of passes."""
    assert not image_training.long_schedule(DetectConfig(), images=118_287)
    assert "[detect] goes 4198 times through 343 images" in image_training.long_schedule(DetectConfig(), images=343)
    assert not image_training.long_schedule(DetectConfig(iterations=2100), images=343)
    assert "[e2e]" in image_training.long_schedule(E2EConfig(), images=343)
    monkeypatch.setattr(image_training, "_MUCH", 0)
    train(tmp_path, iterations=1, steps=(1,), warmup_iterations=0, eval_every=0)
    assert "The schedule in [detect]" in caplog.text


def test_a_batch_in_parts_trains_the_same_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images at once or one after the other; both sample as many anchors and RoIs, here not at random."""
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count))
    files = write_data(tmp_path / "data")
    data = read_coco(files.train_annotations, files.train_images)
    weights = {}
    for name, changes in {"whole": {}, "parts": {"accumulate": 2}, "still": {"lr": 0.0}}.items():
        config = detect_config(out=tmp_path / name, norm="frozen", rois_per_image=4, **changes)
        train_detector(
            config,
            data,
            run=open_run(config.out, stage="detect", identity={}, config={}, inputs={}),
            evaluate=None,
        )
        weights[name] = load_weights(config.out / "last.safetensors")
    for name, value in weights["whole"].items():
        change = float((value - weights["still"][name]).abs().max())
        torch.testing.assert_close(weights["parts"][name], value, atol=1e-7 + 1e-3 * change, rtol=0)
    learned = "backbone.fpn.inner_blocks.0.0.weight"
    assert float((weights["whole"][learned] - weights["still"][learned]).abs().max()) > 1e-5


def test_the_learning_rate_by_the_linear_rule_is_said_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """0.02 for 16 images, so 0.0025 for the two of a batch, in however many parts."""
    with caplog.at_level(logging.INFO, "maskx"):
        train(tmp_path, lr="auto", iterations=1, eval_every=0, accumulate=2, warmup_iterations=0)
    assert "The learning rate is 0.0025, for 2 images an iteration." in caplog.text
    assert json.loads((tmp_path / "run" / "run.json").read_text())["lr"] == 0.0025
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["lr"] == pytest.approx(0.0025)


def test_images_that_cannot_be_shared_out_among_the_parts_are_an_error(tmp_path: Path) -> None:
    """Instead of a smaller batch than was asked for."""
    with pytest.raises(ConfigError, match="2 images per batch cannot be gone through in 3 equal parts"):
        train(tmp_path, accumulate=3)


@pytest.mark.slow
def test_averaged_training_resumes_bit_identically(tmp_path: Path) -> None:
    """With everything that is new: an average, parts, images at other scales and in other colours."""
    changes = {"ema": 0.99, "accumulate": 2, "augment": "lsj", "colour_jitter": 0.4}
    whole = train(tmp_path / "whole", **changes)
    killed = subprocess.run([sys.executable, str(_PROGRAM), str(tmp_path / "killed"), "9", json.dumps(changes)])
    assert killed.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "killed/run/run.json").read_text())["step"] == 4
    run = train(tmp_path / "killed", **changes)
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_trained_detector_loads_with_its_categories_and_digest(trained: Path) -> None:
    """The last weights are those of the file, frozen, in evaluation mode."""
    loaded = load_detector(trained, checkpoint="last")
    weights = load_weights(trained / "last.safetensors")
    assert loaded.categories == CATEGORIES
    assert loaded.identity == identity_of(loaded.config, CATEGORIES, weights)
    assert loaded.identity == json.loads((trained / "run.json").read_text())["detector_identities"]["last"]
    assert loaded.config.box_head_dim == 16
    assert torch.equal(
        loaded.model.roi_heads.box_predictor.cls_score.weight, weights["roi_heads.box_predictor.cls_score.weight"]
    )
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.model([torch.rand(3, 64, 80)])[0]["boxes"].shape[1] == 4


def test_training_changes_the_weights_and_records_the_run(trained: Path) -> None:
    """Losses and metrics are logged, the run is finished."""
    record = json.loads((trained / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["categories"] == [{"id": c.id, "name": c.name} for c in CATEGORIES]
    assert set(record["results"]) == {"box_ap"}
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 6]
    assert {"loss", "loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg", "lr"} < set(lines[1])


def test_without_best_weights_the_last_are_taken_and_said(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other way round, and without any weights, it is an error that says what to run."""
    for name in ("run.json", "last.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    with caplog.at_level(logging.WARNING, "maskx"):
        load_detector(tmp_path, checkpoint="best")
    assert "last.safetensors" in caplog.text
    (tmp_path / "last.safetensors").unlink()
    with pytest.raises(RunError, match="no weights yet") as caught:
        load_detector(tmp_path)
    assert "maskx detect train" in str(caught.value)
    with pytest.raises(RunError, match="holds no run"):
        load_detector(tmp_path / "nothing")


def test_weights_that_do_not_fit_are_an_error(trained: Path, tmp_path: Path) -> None:
    """A file of another model is named."""
    (tmp_path / "run.json").write_bytes((trained / "run.json").read_bytes())
    save_weights(tmp_path / "best.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(WeightsError, match=r"best\.safetensors does not fit"):
        load_detector(tmp_path)


def test_a_detector_from_backbone_weights_loads_with_frozen_norm_and_without_them(tmp_path: Path) -> None:
    """torchvision's trap: built without weights, auto would make the norm trainable and its buffers misread."""
    body = build_backbone(
        backbone="resnet18", backbone_weights="none", norm="batch", trainable_layers=5, fpn_channels=256
    ).body
    save_weights(tmp_path / "backbone.safetensors", body.state_dict(), {})
    run = train(tmp_path, backbone_weights=str(tmp_path / "backbone.safetensors"), iterations=1, eval_every=0)
    (tmp_path / "backbone.safetensors").unlink()
    loaded = load_detector(run)
    assert isinstance(loaded.model.backbone.body.bn1, FrozenBatchNorm2d)
    assert torch.equal(loaded.model.backbone.body.conv1.weight, body.conv1.weight)


@pytest.mark.slow
def test_two_processes_train_together_and_resume(tmp_path: Path) -> None:
    """Under torchrun with gloo: both take part, one writes, and a finished training is one model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    killed = subprocess.run([*command, str(_PROGRAM), str(tmp_path / "a"), "5"], check=False, capture_output=True)
    assert killed.returncode != 0
    for folder in ("a", "b"):
        done = subprocess.run([*command, str(_PROGRAM), str(tmp_path / folder)], check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        assert (tmp_path / "a/run" / name).read_bytes() == (tmp_path / "b/run" / name).read_bytes(), name
    assert json.loads((tmp_path / "a/run/run.json").read_text())["status"] == "finished"
    alone = load_weights(train(tmp_path / "alone") / "last.safetensors")
    together = load_detector(tmp_path / "a" / "run", checkpoint="last").model.state_dict()
    name = "roi_heads.box_predictor.cls_score.weight"
    assert not torch.equal(alone[name], together[name])
