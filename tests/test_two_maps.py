"""`--pool finest+assigned` through the command line: whatever looks at images pools as the cache was pooled."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import own_detector
import pytest
from e2e_world import DETECT, JOINT, seen_file, write_data
from imported_project import have_masks, maskx

from maskx_pipeline.commands import run
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.project import write_project

CHANNELS = 2 * DETECT["fpn_channels"]
POOL = ("--pool", "finest+assigned")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector, a cache of each kind of pooling, a model fitted to that of two maps, and one trained jointly."""
    folder = tmp_path_factory.mktemp("two-maps")
    split = f"@{seen_file(folder)}"
    small = {"workers": 0, "amp": "off", "device": "cpu"}
    write_project(
        folder,
        {
            "data": write_data(folder / "data").to_mapping(),
            "detect": {**DETECT, "cls_init_std": 0.3, "box_init_std": 0.3},
            "export-embeddings": {"rois-per-object": 1, "roi-size": 7, "mask-size": 14, **small},
            "fit-transfer": {
                "head-width": 8, "head-depth": 1, "components": 2, "epochs": 2.0, "rois-per-batch": 4, "amp": "off",
                "device": "cpu", "split": split, "coordinates": False,
            },
            "e2e": {**JOINT, "iterations": 1, "steps": [1], "eval_every": 0, "split": split},
        },
    )  # fmt: skip
    maskx(folder, "detect", "train")
    maskx(folder, "export-embeddings", "--out", "runs/one.h5")
    maskx(folder, "export-embeddings", *POOL)
    maskx(folder, "fit-transfer", "--name", "two")
    have_masks(folder / "runs/transfer/two/best.safetensors")
    maskx(folder, "e2e", "--init", "runs/detector", "--name", "joint", *POOL)
    return folder


def results(project: Path, model: str, origin: str) -> list[dict[str, Any]]:
    maskx(project, "evaluate", "--model", model, "--from", origin)
    found = json.loads((project / model / "evaluation" / f"{origin}-best" / "results.json").read_text())
    assert len(found) > 0
    return list(found)


def test_the_cache_has_twice_the_channels_and_says_how_it_was_pooled(project: Path) -> None:
    """The second half is the features of the usual cache, for train and val alike."""
    with h5py.File(project / "runs/one.h5") as one, h5py.File(project / "runs/cache.h5") as two:
        assert json.loads(two.attrs["export_identity"])["pool"] == "finest+assigned"
        assert two.attrs["detector_sha256"] == one.attrs["detector_sha256"]
        for group in ("train", "val/detections", "val/ground_truth"):
            usual, both = one[f"{group}/features"][...], two[f"{group}/features"][...]
            assert both.shape == (len(usual), CHANNELS, 7, 7)
            np.testing.assert_array_equal(both[:, CHANNELS // 2 :], usual)
            assert (both[:, : CHANNELS // 2] != usual).any()


def test_a_cache_of_another_pooling_is_another_cache(project: Path) -> None:
    """It is neither taken for finished nor replaced."""
    said = maskx(project, "export-embeddings", code=1)[1]
    assert "pool: finest+assigned -> assigned" in said


def test_images_are_pooled_as_the_cache_was(project: Path) -> None:
    """AP and every mask from cached detections equal those from images; predict and annotate pool alike."""
    model = "runs/transfer/two"
    assert results(project, model, "cache") == results(project, model, "images")
    weights = load_weights(project / model / "best.safetensors")
    assert weights["head.convs.0.weight"].shape[1] == CHANNELS
    maskx(project, "predict", "data/0.png", "--model", model, "--out", "out", "--score-threshold", "0.01")
    assert (project / "out/0.jpg").is_file()
    content = json.loads((project / "data/train.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    (project / "boxes.json").write_text(json.dumps(content))
    maskx(project, "annotate", "boxes.json", "--images", "data", "--model", model, "--out", "filled.json")
    filled = json.loads((project / "filled.json").read_text())["annotations"]
    assert any(annotation.get("segmentation") for annotation in filled)


def test_joint_training_goes_on_with_the_pooling_it_is_told(project: Path) -> None:
    """From a model of two maps it must be given; from a detector it decides; what was trained is loaded so."""
    said = maskx(project, "e2e", "--init", "runs/transfer/two", code=1)[1]
    assert "pooled as finest+assigned, and assigned was asked for" in said
    assert "--pool finest+assigned" in said
    maskx(project, "e2e", "--init", "runs/transfer/two", "--name", "on", *POOL)
    maskx(project, "e2e", "--init", "backbone", "--name", "first", *POOL, "--embedding", "none")
    for name in ("on", "joint", "first"):
        weights = load_weights(project / "runs/e2e" / name / "last.safetensors")
        assert weights["mask_model.head.convs.0.weight"].shape[1] == CHANNELS
        assert results(project, f"runs/e2e/{name}", "images")


def test_what_is_measured_in_joint_training_is_pooled_alike(project: Path) -> None:
    """At the end of the training the model looks at the images of val."""
    with contextlib.chdir(project):
        assert run(["e2e", "--init", "runs/transfer/two", "--name", "measured", *POOL]) == 0
    assert "seen_mask_ap" in (project / "runs/e2e/measured/metrics.jsonl").read_text()


@pytest.mark.parametrize("model", ["runs/transfer/two", "runs/e2e/joint"])
def test_torchvision_has_no_place_for_two_maps(project: Path, model: str) -> None:
    """The error names what has: ONNX, whose input is wider."""
    pytest.importorskip("onnxscript", reason="comes with the extra dev")
    said = maskx(project, "export-model", "--model", model, "--out", "none.pth", code=1)[1]
    assert "two maps (--pool finest+assigned)" in said
    assert "--format onnx" in said
    assert not (project / "none.pth").exists()
    out, _ = maskx(project, "export-model", "--format", "onnx", "--model", model, "--out", f"{Path(model).name}.onnx")
    note = json.loads((project / f"{Path(model).name}.onnx.json").read_text())["roi_features"]
    assert f"[N, {CHANNELS}, 7, 7]" in note
    assert "of the finest level, then" in note
    session = pytest.importorskip("onnxruntime")
    assert session.InferenceSession(project / out.split("\n")[0]).get_inputs()[0].shape[1:] == [CHANNELS, 7, 7]


def test_the_plan_counts_both_maps(project: Path) -> None:
    """RoIs as before, of twice the features."""
    one, two = (
        json.loads(maskx(project, "export-embeddings", "--out", "x.h5", "--dry-run", "--json", *options)[0])
        for options in ((), POOL)
    )
    assert one["rois"] == two["rois"]
    assert two["bytes"] - one["bytes"] == one["rois"] * (CHANNELS // 2) * 7 * 7 * 2


def test_an_estimate_counts_both_maps_of_a_detector_that_is_not_trained_yet(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the cache of the same settings will."""
    found = []
    for pool in ("assigned", "finest+assigned"):
        monkeypatch.setenv("MASKX_EXPORT_EMBEDDINGS_POOL", pool)
        monkeypatch.setenv("MASKX_EXPORT_EMBEDDINGS_DETECTOR", str(tmp_path / "none"))
        report = json.loads(maskx(project, "doctor", "--estimate", "--json")[0])
        found += [s["bytes"] for s in report["estimate"]["stages"] if s["stage"] == "export-embeddings"]
    plan = json.loads(maskx(project, "export-embeddings", "--detector", "runs/detector", "--dry-run", "--json")[0])
    assert found[1] == plan["bytes"] > found[0]


def test_a_detector_of_ones_own_pools_as_its_code_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option is refused there, and no part of what such a cache is made from."""
    monkeypatch.chdir(tmp_path)
    own_detector.make_project(tmp_path)
    own_detector.write_toml(detector="tiny.py:Tiny")
    with contextlib.chdir(tmp_path):
        assert run(["export-embeddings", *POOL]) == 1
        said = capsys.readouterr().err
        assert "--pool finest+assigned is for the detectors of `maskx detect`" in said
        assert not Path("looked.txt").exists()
        assert run(["export-embeddings"]) == 0
    with h5py.File(tmp_path / "runs/cache.h5") as file:
        assert "pool" not in json.loads(file.attrs["export_identity"])
