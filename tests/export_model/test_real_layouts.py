"""torchvision's own ResNet-50 constructors load what is exported, strictly, and find and segment the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision_models import SIZE, as_if_trained, blocks, calibrate

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.load import empty_detector
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.export_model.loading_code import check_buildable, loading_code
from maskx_pipeline.export_model.torchvision_format import mask_rcnn_state
from maskx_pipeline.transfer.heads.fcn import FCNMaskHead
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.mask_predictors import ClassSpecificPredictor
from maskx_pipeline.whole_model import WholeModel

CPU = torch.device("cpu")


def _config(**changes: object) -> DetectConfig:
    return DetectConfig.from_mapping({"backbone_weights": "none", **changes}, source="test")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["v1", "v2"])
def test_the_resnet50_constructors_load_it_and_give_the_same_masks(architecture: str) -> None:
    """Frozen normalisation without an epsilon included; float32 throughout, so the tolerance is that of rounding."""
    torch.manual_seed(0)
    norm = {"norm": "frozen", "frozen_eps": 0.0} if architecture == "v1" else {"norm": "batch"}
    config = _config(architecture=architecture, min_size=SIZE, max_size=SIZE, rpn_post_nms=100, **norm)
    detector = as_if_trained(empty_detector(config, num_classes=5))
    image = blocks(128, 112, seed=0)
    calibrate(detector, [image])
    predictor = ClassSpecificPredictor(in_channels=256, num_classes=4)
    mask_model = MaskModel(head=FCNMaskHead(in_channels=256), predictor=predictor)
    with torch.no_grad():
        for parameter in mask_model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(std=0.1)
        predictor.weight.mul_(0.002)  # as if trained: logits of a few, not of hundreds, which would amplify rounding
    build = maskrcnn_resnet50_fpn if architecture == "v1" else maskrcnn_resnet50_fpn_v2
    model = build(
        weights=None, weights_backbone=None, num_classes=5, min_size=SIZE, max_size=SIZE, rpn_post_nms_top_n_test=100
    )
    model.load_state_dict(mask_rcnn_state(detector, mask_model, v2=architecture == "v2"), strict=True)
    probs: list[torch.Tensor] = []
    model.roi_heads.mask_predictor.register_forward_hook(lambda _, __, logits: probs.append(logits.sigmoid()))
    with torch.no_grad():
        theirs = model.eval()([image])[0]
    frozen = FrozenDetector(detector, device=CPU, amp_dtype=None)
    ours = WholeModel(frozen, mask_model, roi_size=14, device=CPU, half_features=False).predict(image)
    assert len(ours) >= 5
    assert len(set(ours.labels.tolist())) > 1
    assert ours.labels.tolist() == theirs["labels"].tolist()
    torch.testing.assert_close(ours.boxes_xyxy, theirs["boxes"], atol=2e-2, rtol=0)
    torch.testing.assert_close(ours.mask_probs, probs[0][torch.arange(len(ours)), ours.labels], atol=1e-3, rtol=0)
    assert 0.1 < float((ours.mask_probs > 0.5).float().mean()) < 0.9


@pytest.mark.parametrize(
    ("architecture", "name"), [("v1", "maskrcnn_resnet50_fpn"), ("v2", "maskrcnn_resnet50_fpn_v2")]
)
def test_default_settings_need_five_lines(architecture: str, name: str) -> None:
    """Nothing is set that torchvision sets itself."""
    config, head = _config(architecture=architecture), FCNMaskHead(in_channels=256)
    code = loading_code(Path("model.pth"), config, outputs=81, head=head, roi_size=14)
    assert code.split("\n") == [
        "import torch",
        "from torchvision.models import detection",
        "",
        f"model = detection.{name}(weights=None, weights_backbone=None, num_classes=81)",
        "model.load_state_dict(torch.load('model.pth', weights_only=True))",
        "model.eval()",
        "",
    ]


@pytest.mark.parametrize("changes", [{"backbone": "resnet101"}, {"fpn_channels": 64}])
def test_v2_of_other_sizes_is_refused(changes: dict[str, object]) -> None:
    """torchvision has no constructor for it; v1 of these sizes it has."""
    with pytest.raises(ConfigError, match="--format onnx") as caught:
        check_buildable(_config(architecture="v2", **changes))
    assert "resnet50" in caught.value.message
    check_buildable(_config(**changes))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "v2", "box_head_dim": 64},
        {"backbone": "resnet18", "fpn_channels": 32},
        {"backbone": "resnet101"},
    ],
)
@pytest.mark.parametrize(("depth", "roi_size"), [(4, 14), (1, 7), (0, 14)])
def test_the_code_builds_any_sizes(tmp_path: Path, changes: dict[str, object], depth: int, roi_size: int) -> None:
    """Each part is there, of the right size, or the weights could not be loaded."""
    config = _config(anchor_sizes=(16, 32, 64, 128, 256), canonical_box_size=160, **changes)
    head = FCNMaskHead(in_channels=config.fpn_channels, width=24, depth=depth)
    mask_model = MaskModel(head=head, predictor=ClassSpecificPredictor(in_channels=24, num_classes=4))
    state = mask_rcnn_state(empty_detector(config, num_classes=5), mask_model, v2=config.architecture == "v2")
    torch.save(state, tmp_path / "model.pth")
    names: dict[str, Any] = {}
    exec(loading_code(tmp_path / "model.pth", config, outputs=5, head=head, roi_size=roi_size), names)
    model = names["model"]
    assert model.rpn.anchor_generator.sizes == ((16,), (32,), (64,), (128,), (256,))
    pools = model.roi_heads.box_roi_pool, model.roi_heads.mask_roi_pool
    assert [(pool.output_size[0], pool.canonical_scale) for pool in pools] == [(7, 160), (roi_size, 160)]
