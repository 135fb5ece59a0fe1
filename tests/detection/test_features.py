"""The frozen detector gives the detector's own numbers, in pixels of the original image."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_detector import tiny_config
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.ops import MultiScaleRoIAlign, roi_align

from maskx_pipeline.detection.features import FrozenDetector, scale_boxes
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.errors import ConfigError

_CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def detector() -> FasterRCNN:
    """Untrained, but with detections of every class; images are doubled in size for it."""
    torch.manual_seed(0)
    config = tiny_config(score_threshold=0.0, min_size=192, max_size=320, detections_per_image=20, cls_init_std=0.5)
    return build_detector(num_classes=4, **detector_arguments(config))


@pytest.fixture(scope="module")
def image() -> Tensor:
    """An image whose two scale factors differ a little by rounding."""
    return torch.rand(3, 95, 131, generator=torch.Generator().manual_seed(1))


def _frozen(detector: FasterRCNN, dtype: torch.dtype | None = None) -> FrozenDetector:
    return FrozenDetector(detector, device=_CPU, amp_dtype=dtype)


def test_detections_are_those_of_the_detector(detector: FasterRCNN, image: Tensor) -> None:
    """Boxes in the original image, scores and labels equal torchvision's own call."""
    found = _frozen(detector).extract(image).detections
    with torch.no_grad():
        expected = detector([image])[0]
    assert len(found.boxes_xyxy) == 20
    torch.testing.assert_close(found.boxes_xyxy, expected["boxes"])
    torch.testing.assert_close(found.scores, expected["scores"])
    assert torch.equal(found.labels, expected["labels"])


def test_proposals_lie_in_the_original_image(detector: FasterRCNN, image: Tensor) -> None:
    """They come back from the resized image with the factor of each axis."""
    frozen = _frozen(detector)
    proposals = frozen.extract(image).proposals_xyxy
    with torch.no_grad():
        batch, _ = detector.transform([image])
        resized, _ = detector.rpn(batch, detector.backbone(batch.tensors))
    assert batch.image_sizes[0] == (192, 264)
    expected = resized[0] * torch.tensor([131 / 264, 95 / 192] * 2)
    torch.testing.assert_close(proposals, expected, rtol=0, atol=1e-3)
    assert float(proposals[:, 2].max()) <= 131
    assert float(proposals[:, 3].max()) <= 95


def test_pooled_features_are_those_of_torchvision(detector: FasterRCNN, image: Tensor) -> None:
    """At 7 what the box head sees, at 14 what a mask head would see, for boxes of the original image."""
    frozen = _frozen(detector)
    extracted = frozen.extract(image)
    boxes = torch.cat([extracted.proposals_xyxy[:10], torch.tensor([[0.0, 0.0, 131.0, 95.0], [3.0, 4.0, 9.0, 9.0]])])
    with torch.no_grad():
        batch, _ = detector.transform([image])
        features = detector.backbone(batch.tensors)
    resized = boxes * torch.tensor([264 / 131, 192 / 95] * 2)
    for size in (7, 14):
        pool = MultiScaleRoIAlign(["0", "1", "2", "3"], size, 2, canonical_scale=32)
        pooled = extracted.pool(boxes, size)
        assert pooled.shape == (12, frozen.channels, size, size)
        torch.testing.assert_close(pooled, pool(features, [resized], batch.image_sizes), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_same_image_gives_the_same_bits(detector: FasterRCNN, image: Tensor, dtype: torch.dtype | None) -> None:
    """Whatever was looked at in between; features are float32 also under mixed precision."""
    frozen = _frozen(detector, dtype)
    first = frozen.extract(image)
    frozen.extract(torch.rand(3, 64, 200))
    second = frozen.extract(image)
    assert torch.equal(first.detections.boxes_xyxy, second.detections.boxes_xyxy)
    assert torch.equal(first.proposals_xyxy, second.proposals_xyxy)
    boxes = first.proposals_xyxy[:6]
    assert first.pool(boxes, 14).dtype is torch.float32
    assert torch.equal(first.pool(boxes, 14), second.pool(boxes, 14))
    torch.testing.assert_close(first.pool(boxes, 14)[:3], second.pool(boxes[:3], 14))


def test_rpn_and_box_head_run_only_when_asked_for(
    detector: FasterRCNN, image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given boxes need neither, training images of an export no box head; once asked for, the result is kept."""
    frozen = _frozen(detector)
    calls = []
    for name in ("rpn", "roi_heads"):
        part = getattr(detector, name)
        monkeypatch.setattr(
            part, "forward", lambda *args, name=name, forward=part.forward: calls.append(name) or forward(*args)
        )
    extracted = frozen.extract(image)
    extracted.pool(torch.tensor([[3.0, 4.0, 90.0, 80.0]]), 14)
    assert calls == []
    assert extracted.proposals_xyxy is extracted.proposals_xyxy
    assert calls == ["rpn"]
    assert extracted.detections is extracted.detections
    assert calls == ["rpn", "roi_heads"]


def test_no_boxes_pool_to_no_features(detector: FasterRCNN, image: Tensor) -> None:
    """An image without objects is no special case."""
    frozen = _frozen(detector)
    assert frozen.extract(image).pool(torch.zeros(0, 4), 14).shape == (0, 16, 14, 14)


def test_the_detector_is_frozen(detector: FasterRCNN) -> None:
    """Evaluation mode, and no gradient anywhere."""
    frozen = _frozen(detector)
    assert not frozen.detector.training
    assert not any(p.requires_grad for p in frozen.detector.parameters())


def test_scale_boxes_there_and_back_is_nothing() -> None:
    """Sizes are (height, width)."""
    boxes = torch.tensor([[1.0, 2.0, 30.0, 40.0]])
    scaled = scale_boxes(boxes, (100, 50), (200, 150))
    assert torch.equal(scaled, torch.tensor([[3.0, 4.0, 90.0, 80.0]]))
    torch.testing.assert_close(scale_boxes(scaled, (200, 150), (100, 50)), boxes)


def test_two_maps_double_the_channels_and_end_with_the_usual_features(detector: FasterRCNN, image: Tensor) -> None:
    """The first half is torchvision's pooling from the finest map alone, of boxes in the resized image."""
    frozen = FrozenDetector(detector, device=_CPU, amp_dtype=None, pooling="finest+assigned")
    usual = _frozen(detector)
    assert frozen.channels == 2 * usual.channels == 2 * detector.backbone.out_channels
    detected = frozen.extract(image)
    boxes = torch.cat([detected.proposals_xyxy[:10], torch.tensor([[0.0, 0.0, 131.0, 95.0]])])
    pooled = detected.pool(boxes, 7)
    finest, assigned = pooled.chunk(2, dim=1)
    torch.testing.assert_close(assigned, usual.extract(image).pool(boxes, 7), rtol=0, atol=0)
    with torch.no_grad():
        features = detector.backbone(detector.transform([image])[0].tensors)
    resized = boxes * torch.tensor([264 / 131, 192 / 95] * 2)
    expected = roi_align(features["0"], [resized], 7, spatial_scale=0.25, sampling_ratio=2)
    torch.testing.assert_close(finest, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(finest[-1], assigned[-1], atol=1e-2)


def test_a_detector_of_one_map_cannot_pool_from_two(detector: FasterRCNN) -> None:
    """The error names the option; the usual pooling is left to it."""
    alone = copy.deepcopy(detector)
    alone.roi_heads.box_roi_pool = MultiScaleRoIAlign(["0"], 7, 2)
    with pytest.raises(ConfigError, match=r"one feature map, and --pool finest\+assigned") as caught:
        FrozenDetector(alone, device=_CPU, amp_dtype=None, pooling="finest+assigned")
    assert "--pool assigned" in str(caught.value)
    FrozenDetector(alone, device=_CPU, amp_dtype=None)
