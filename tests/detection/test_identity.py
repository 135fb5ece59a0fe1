"""What tells one trained detector from another."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_detector import CATEGORIES, tiny_config
from torch import Tensor

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.identity import detector_identities, identity_of
from maskx_pipeline.detection.load import empty_detector, load_detector
from maskx_pipeline.detection.model import detector_arguments
from maskx_pipeline.engine.checkpoint import load_weights, save_weights
from maskx_pipeline.errors import RunError, WeightsError
from maskx_pipeline.provenance.files import write_json

BASE = tiny_config(
    norm="frozen", frozen_eps=1e-3, score_threshold=0.1, detections_per_image=20, fpn_channels=16, cls_init_std=0.5
)
OTHER: dict[str, Any] = {
    "backbone": "resnet50", "backbone_weights": "imagenet", "norm": "batch", "trainable_layers": 1,
    "architecture": "v2", "frozen_eps": 0.05, "other_outputs": 2, "fpn_channels": 24, "box_head_dim": 24,
    "min_size": 80, "max_size": 70, "anchor_sizes": (12, 16, 32, 64, 128), "canonical_box_size": 200,
    "rpn_pre_nms": 5, "rpn_post_nms": 8, "rois_per_image": 8, "score_threshold": 0.8, "nms_threshold": 0.2,
    "detections_per_image": 3, "cls_init_std": 0.1, "box_init_std": 0.1, "smooth_l1_beta": 0.5,
    "allow_mask_weights": True,
}  # fmt: skip
"""Another value of each setting that a detector is built with."""


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state: dict[str, Tensor] = empty_detector(BASE, num_classes=4).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value[::4] = 2e-3  # so little that frozen_eps counts
            state[name.replace("running_var", "weight")][::4] *= 0.05
    return state


def look(config: DetectConfig, tensors: dict[str, Tensor]) -> list[Tensor] | None:
    """All that a detector gives for an image; None if the weights do not fit it."""
    detector = empty_detector(config, num_classes=4)
    try:
        detector.load_state_dict(tensors)
    except RuntimeError:
        return None
    frozen = FrozenDetector(detector, device=torch.device("cpu"), amp_dtype=None)
    image = frozen.extract(torch.rand(3, 64, 90, generator=torch.Generator().manual_seed(0)))
    found = image.detections
    features = image.pool(torch.tensor([[3.0, 5.0, 60.0, 62.0]]), 7)
    return [found.boxes_xyxy, found.scores, found.labels, image.proposals_xyxy, features]


def test_every_setting_changes_the_identity_or_is_declared_to_be_none_of_the_forward_pass(
    tensors: dict[str, Tensor],
) -> None:
    """Whatever its value is."""
    usual = identity_of(BASE, CATEGORIES, tensors)
    assert set(OTHER) == set(detector_arguments(BASE))
    for field in dataclasses.fields(DetectConfig):
        value = getattr(BASE, field.name)
        other = OTHER.get(field.name, (*value, 7) if isinstance(value, tuple) else f"{value}x")
        changed = BASE.replace(**{field.name: other})
        assert (identity_of(changed, CATEGORIES, tensors) != usual) == field.metadata["forward"], field.name
        assert field.name in OTHER or not field.metadata["forward"], field.name


def test_what_is_declared_of_the_forward_pass_is_so(tensors: dict[str, Tensor]) -> None:
    """With the same weights, a forward setting changes what comes out, or the weights do not fit; no other one does."""
    usual = look(BASE, tensors)
    assert usual is not None
    assert 5 <= len(usual[1]) < len(usual[3])
    for field in dataclasses.fields(DetectConfig):
        if field.name in OTHER:
            found = look(BASE.replace(**{field.name: OTHER[field.name]}), tensors)
            same = found is not None and all(torch.equal(a, b) for a, b in zip(found, usual, strict=True))
            assert same != field.metadata["forward"], field.name


def test_weights_and_categories_change_the_identity(tensors: dict[str, Tensor]) -> None:
    """A label means what the categories say."""
    usual = identity_of(BASE, CATEGORIES, tensors)
    name = "roi_heads.box_predictor.cls_score.bias"
    assert identity_of(BASE, CATEGORIES, {**tensors, name: tensors[name] + 1}) != usual
    assert identity_of(BASE, CATEGORIES[:2], tensors) != usual


def test_a_run_says_its_identities_and_they_are_those_of_its_weights(trained: Path, tmp_path: Path) -> None:
    """Before it is finished they are computed; best and last differ."""
    found = detector_identities(trained)
    assert found == {
        name: identity_of(tiny_config(), CATEGORIES, load_weights(trained / f"{name}.safetensors"))
        for name in ("best", "last")
    }
    assert all(load_detector(trained, checkpoint=name).identity == found[name] for name in found)
    run = shutil.copytree(trained, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    del record["detector_identities"]
    write_json(run / "run.json", {**record, "status": "running"})
    assert detector_identities(run) == found
    (run / "best.safetensors").unlink()
    assert detector_identities(run) == {"last": found["last"]}
    (run / "last.safetensors").unlink()
    with pytest.raises(RunError, match="no weights yet"):
        detector_identities(run)


def test_weights_that_the_run_did_not_write_are_refused(trained: Path, tmp_path: Path) -> None:
    """Whether the file was replaced or the settings were edited."""
    run = shutil.copytree(trained, tmp_path / "run")
    weights = load_weights(run / "last.safetensors")
    name = "roi_heads.box_predictor.cls_score.bias"
    save_weights(run / "last.safetensors", {**weights, name: weights[name] + 1}, {})
    with pytest.raises(WeightsError, match="not the file that its run wrote"):
        load_detector(run, checkpoint="last")
    record = json.loads((run / "run.json").read_text())
    record["config"]["nms_threshold"] = 0.7
    write_json(run / "run.json", record)
    with pytest.raises(WeightsError, match=r"run\.json was changed"):
        load_detector(run, checkpoint="best")
