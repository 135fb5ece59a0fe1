"""Where the backbone's first weights come from, and what is frozen."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d

from maskx_pipeline.detection.backbone import build_backbone, resolve_norm
from maskx_pipeline.errors import MachineError, WeightsError


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A ResNet-18 with statistics that are not the initial ones."""
    torch.manual_seed(1)
    model = resnet18()
    model.bn1.running_mean.normal_()
    return model.state_dict()


def _build(path: Path | str, *, backbone: str = "resnet18", norm: str = "auto") -> BackboneWithFPN:
    return build_backbone(
        backbone=backbone, backbone_weights=str(path), norm=norm, trainable_layers=3, fpn_channels=256
    )


def _write(path: Path, weights: dict[str, Tensor], form: str) -> Path:
    if form == "safetensors":
        save_file(weights, path.with_suffix(".safetensors"))
        return path.with_suffix(".safetensors")
    if form == "detector":
        weights = {f"backbone.body.{n}": v for n, v in weights.items()} | {"rpn.head.x": torch.zeros(1)}
    wrapped = {"wrapped": {"state_dict": {f"module.{n}": v for n, v in weights.items()}, "epoch": 3}}
    torch.save(wrapped.get(form, weights), path)
    return path


@pytest.mark.parametrize("form", ["safetensors", "plain", "wrapped", "detector"])
def test_weights_from_a_file_reach_the_backbone(form: str, weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Safetensors, a state dict, one wrapped by a training script, or a whole detector."""
    body = _build(_write(tmp_path / "weights.pth", weights, form)).body
    assert torch.equal(body.conv1.weight, weights["conv1.weight"])
    assert torch.equal(body.bn1.running_mean, weights["bn1.running_mean"])
    assert torch.equal(body.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])


def test_a_backbone_from_weights_is_frozen_in_part_and_its_norm_whole(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """Three stages are trained; the normalisation is not."""
    model = _build(_write(tmp_path / "w.pth", weights, "plain"))
    trained = {name.split(".")[0] for name, p in model.body.named_parameters() if p.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert isinstance(model.body.bn1, FrozenBatchNorm2d)
    assert all(p.requires_grad for p in model.fpn.parameters())


def test_a_backbone_from_nothing_is_trained_whole() -> None:
    """Nothing is worth freezing."""
    model = _build("none")
    assert all(p.requires_grad for p in model.parameters())
    assert isinstance(model.body.bn1, nn.BatchNorm2d)


def test_auto_norm_follows_the_weights() -> None:
    """Frozen with weights, batch without, and what is asked for otherwise."""
    assert [resolve_norm("auto", w) for w in ("imagenet", "none", "a.pth")] == ["frozen", "batch", "frozen"]
    assert resolve_norm("frozen", "none") == "frozen"
    assert resolve_norm("batch", "imagenet") == "batch"


def test_weights_of_another_backbone_are_an_error(weights: dict[str, Tensor], tmp_path: Path) -> None:
    """The error names tensors and the option; a missing or foreign file is told apart."""
    path = _write(tmp_path / "w.pth", weights, "plain")
    with pytest.raises(WeightsError, match="does not fit the backbone") as caught:
        _build(path, backbone="resnet50")
    assert "--backbone" in str(caught.value)
    with pytest.raises(WeightsError, match="does not exist"):
        _build(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="does not fit the backbone"):
        _build(_write(tmp_path / "x.pth", {"a": torch.zeros(1)}, "plain"))


@pytest.mark.parametrize("name", ["roi_heads.mask_head.0.0.weight", "mask_head.convs.0.conv.weight", "_[mask]_fcn1_w"])
def test_weights_that_saw_masks_are_refused_unless_allowed(
    name: str, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """A Mask R-CNN of COCO saw the masks of every category, so none would be unseen; whoever made it."""
    detector = {f"backbone.body.{n}": v for n, v in weights.items()} | {name: torch.zeros(1)}
    path = _write(tmp_path / "mask-rcnn.pth", detector, "wrapped")
    with pytest.raises(WeightsError, match="was trained with masks") as caught:
        _build(path)
    assert "--allow-mask-weights" in str(caught.value)
    allowed = build_backbone(
        backbone="resnet18", backbone_weights=str(path), norm="auto", trainable_layers=3, fpn_channels=256,
        allow_mask_weights=True,
    )  # fmt: skip
    assert torch.equal(allowed.body.conv1.weight, weights["conv1.weight"])


def test_no_network_is_an_error_with_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet weights that cannot be downloaded."""

    def fail(*args: object, **kwargs: object) -> None:
        assert kwargs["weights_only"] is True
        raise URLError("no route to host")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(MachineError, match="no route to host") as caught:
        _build("imagenet")
    assert "--backbone-weights" in str(caught.value)
