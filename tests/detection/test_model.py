"""Faster R-CNN with Detectron's settings."""

from __future__ import annotations

import pytest
import torch
from tiny_detector import tiny_config
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import fastrcnn_loss

from maskx_pipeline.detection.class_weights import class_weights
from maskx_pipeline.detection.heads import box_head_losses
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.device import autocast
from maskx_pipeline.errors import ConfigError


def _detector(num_classes: int = 4, **changes: object) -> FasterRCNN:
    return build_detector(num_classes=num_classes, **detector_arguments(tiny_config(**changes)))


def test_the_box_head_starts_as_in_detectron() -> None:
    """XavierFill for fc6 and fc7, small Gaussians for the layers that T reads, and no bias anywhere."""
    torch.manual_seed(0)
    heads = _detector(81, box_head_dim=128).roi_heads
    for layer in (heads.box_head.fc6, heads.box_head.fc7):
        bound = (3 / layer.in_features) ** 0.5
        assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
    assert float(heads.box_predictor.cls_score.weight.std()) == pytest.approx(0.01, rel=0.05)
    assert float(heads.box_predictor.bbox_pred.weight.std()) == pytest.approx(0.001, rel=0.05)
    layers = (heads.box_head.fc6, heads.box_head.fc7, heads.box_predictor.cls_score, heads.box_predictor.bbox_pred)
    assert not any(layer.bias.any() for layer in layers)


def test_convolutions_are_in_channels_last_memory() -> None:
    """What they compute then is too; NCHW takes two to three times as long in bf16 on a CPU."""
    convolutions = [module for module in _detector().modules() if isinstance(module, nn.Conv2d)]
    assert convolutions
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions)


def test_the_settings_reach_the_model() -> None:
    """Every size, threshold and count of the configuration is where torchvision reads it."""
    config = tiny_config(score_threshold=0.1, nms_threshold=0.4, detections_per_image=7, smooth_l1_beta=0.5)
    detector = build_detector(num_classes=4, **detector_arguments(config))
    heads, rpn = detector.roi_heads, detector.rpn
    assert (heads.score_thresh, heads.nms_thresh, heads.detections_per_img) == (0.1, 0.4, 7)
    assert (heads.smooth_l1_beta, heads.fg_bg_sampler.batch_size_per_image) == (0.5, 16)
    assert heads.box_roi_pool.map_levels.s0 == 32
    assert (detector.transform.min_size, detector.transform.max_size) == ((64,), 96)
    assert rpn.anchor_generator.sizes == ((8,), (16,), (32,), (64,), (128,))
    assert (rpn._pre_nms_top_n, rpn._post_nms_top_n) == (
        {"training": 60, "testing": 60},
        {"training": 40, "testing": 40},
    )
    paper = build_detector(num_classes=4, **detector_arguments(tiny_config(rpn_pre_nms=2000, rpn_post_nms=1000))).rpn
    assert paper._pre_nms_top_n == {"training": 2000, "testing": 1000}


def test_the_channels_of_the_fpn_reach_every_head() -> None:
    """A narrow FPN is a narrow detector: levels, RPN and box head have its channels."""
    detector = _detector(fpn_channels=24)
    levels = detector.backbone(torch.zeros(1, 3, 64, 64))
    assert {level.shape[1] for level in levels.values()} == {24}
    assert detector.roi_heads.box_head.fc6.in_features == 24 * 49
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    assert len(detector([torch.zeros(3, 64, 64)], [target])) == 4


def test_the_losses_are_those_of_torchvision_with_the_beta_given() -> None:
    """At torchvision's beta of 1/9 both losses agree."""
    torch.manual_seed(0)
    logits, offsets, targets = torch.randn(12, 4), torch.randn(12, 16), torch.randn(12, 4)
    labels = torch.randint(0, 4, (12,))
    expected = fastrcnn_loss(logits, offsets, [labels], [targets])
    torch.testing.assert_close(box_head_losses(logits, offsets, labels, targets, beta=1 / 9), expected)
    assert box_head_losses(logits, offsets, labels, targets, beta=1.0)[1] < expected[1]


def test_the_model_trains_with_the_beta_of_its_settings() -> None:
    """A smaller beta makes small errors of the box count more."""
    target = {"boxes": torch.tensor([[5.0, 5.0, 40.0, 50.0]]), "labels": torch.tensor([2])}
    losses = {}
    for beta in (1.0, 0.001):
        torch.manual_seed(0)
        detector = _detector(smooth_l1_beta=beta, box_init_std=0.01)
        losses[beta] = float(detector([torch.full((3, 64, 64), 0.5)], [target])["loss_box_reg"])
    assert losses[0.001] > 2 * losses[1.0] > 0


def test_training_without_any_object_has_finite_losses() -> None:
    """An image whose boxes all are gone teaches background only."""
    detector = _detector()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses = detector([torch.rand(3, 64, 64)], [empty])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_mixed_precision_trains_and_keeps_boxes_in_float32() -> None:
    """Under bf16, proposals and detections keep all their digits, and every parameter gets a gradient."""
    torch.manual_seed(0)
    detector = _detector(score_threshold=0.0)
    target = {"boxes": torch.tensor([[5.0, 5.0, 40.0, 50.0]]), "labels": torch.tensor([2])}
    with autocast(torch.device("cpu"), torch.bfloat16):
        losses = detector([torch.rand(3, 64, 64)], [target])
        detector.eval()
        batch, _ = detector.transform([torch.rand(3, 64, 64)])
        features = detector.backbone(batch.tensors)
        proposals, _ = detector.rpn(batch, features)
        found = detector([torch.rand(3, 64, 64)])[0]
    assert features["0"].dtype is torch.bfloat16
    for boxes in (proposals[0], found["boxes"]):
        assert boxes.dtype is torch.float32
        assert not torch.equal(boxes, boxes.bfloat16().float())
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())


def test_anchor_sizes_must_be_one_per_level() -> None:
    """The error names the option."""
    with pytest.raises(ConfigError, match="anchor-sizes has 3 values"):
        _detector(anchor_sizes=(8, 16, 32))


def test_class_weights_leave_the_background_out_and_join_each_class_s_offsets() -> None:
    """Row k of w_box is dx, dy, dw, dh of label k + 1, each D long, as Detectron's reshape makes it."""
    detector = _detector(num_classes=4)
    predictor = detector.roi_heads.box_predictor
    nn.init.normal_(predictor.cls_score.bias)
    nn.init.normal_(predictor.bbox_pred.bias)
    weights = class_weights(detector)
    assert [tuple(t.shape) for t in (weights.w_cls, weights.b_cls, weights.w_box, weights.b_box)] == [
        (3, 16), (3,), (3, 64), (3, 4),
    ]  # fmt: skip
    for k in range(3):
        label = k + 1
        assert torch.equal(weights.w_cls[k], predictor.cls_score.weight[label])
        assert weights.b_cls[k] == predictor.cls_score.bias[label]
        assert torch.equal(weights.w_box[k], torch.cat(list(predictor.bbox_pred.weight[4 * label : 4 * label + 4])))
        assert torch.equal(weights.b_box[k], predictor.bbox_pred.bias[4 * label : 4 * label + 4])
    weights.w_cls.zero_()
    assert predictor.cls_score.weight.any()
