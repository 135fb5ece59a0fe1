"""The whole model on one image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from maskx_pipeline.config import DetectConfig, TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights, class_weights
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.whole_model import WholeModel, masks_of

CPU = torch.device("cpu")
SIZE = 4
CONFIG = DetectConfig(
    backbone="resnet18", backbone_weights="none", box_head_dim=16, min_size=64, max_size=64,
    anchor_sizes=(8, 16, 32, 48, 64), canonical_box_size=32, rpn_post_nms=50, detections_per_image=8,
    cls_init_std=0.5, score_threshold=0.2,
)  # fmt: skip


@pytest.fixture(scope="module")
def frozen() -> FrozenDetector:
    torch.manual_seed(1)
    return FrozenDetector(build_detector(num_classes=4, **detector_arguments(CONFIG)), device=CPU, amp_dtype=None)


@pytest.fixture(scope="module")
def mask_model(frozen: FrozenDetector) -> MaskModel:
    config = TransferConfig(form="published", head_width=8, head_depth=1)
    weights = class_weights(frozen.detector)
    return new_mask_model(
        config, class_weights=weights, category_names=["a", "b", "c"], in_channels=frozen.channels, roi_size=SIZE
    ).eval()


@pytest.fixture
def image() -> torch.Tensor:
    return (
        torch.rand(3, 8, 10, generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    )


def test_masks_are_those_of_the_rounded_features(
    frozen: FrozenDetector, mask_model: MaskModel, image: torch.Tensor
) -> None:
    """The cache keeps float16, so live features are rounded to it as well (rule 3)."""
    found = WholeModel(frozen, mask_model, roi_size=SIZE, device=CPU).predict(image)
    pooled = frozen.extract(image).pool(found.boxes_xyxy, SIZE)
    cached = masks_of(mask_model, pooled.half().numpy(), found.labels.numpy(), device=CPU, amp_dtype=None)
    exact = masks_of(mask_model, pooled, found.labels, device=CPU, amp_dtype=None)
    assert torch.equal(found.mask_probs, cached)
    assert not torch.equal(found.mask_probs, exact)
    assert found.mask_probs.shape == (len(found), 2 * SIZE, 2 * SIZE)
    assert found.mask_probs.dtype == torch.float32


def test_an_image_in_which_nothing_is_found_has_no_instances(
    frozen: FrozenDetector, mask_model: MaskModel, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty tensors of the right shapes."""
    monkeypatch.setattr(frozen.detector.roi_heads, "score_thresh", 2.0)
    found = WholeModel(frozen, mask_model, roi_size=SIZE, device=CPU).predict(image)
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.mask_probs.shape == (0, 2 * SIZE, 2 * SIZE)


def test_instances_above_a_score_keep_their_rows_together(
    frozen: FrozenDetector, mask_model: MaskModel, image: torch.Tensor
) -> None:
    """Boxes, labels and masks go with their scores; the threshold itself is in."""
    found = WholeModel(frozen, mask_model, roi_size=SIZE, device=CPU).predict(image)
    kept = found.above(float(found.scores[2]))
    assert len(kept) == 3
    for name in ("boxes_xyxy", "scores", "labels", "mask_probs"):
        assert torch.equal(getattr(kept, name), getattr(found, name)[:3])


def test_time_and_memory_of_the_masks_do_not_grow_with_the_number_of_categories() -> None:
    """3,000 categories take the operations and the memory of 80: T is asked for the rows of the labels alone (rule 5).

    What is counted is exact: multiplications, and the values of all tensors that any operation makes.
    """
    counts = []
    for num_classes in (80, 3000):
        torch.manual_seed(0)
        weights = ClassWeights(*(torch.randn(num_classes, width) for width in (6, 1, 24, 4)))
        model = new_mask_model(
            TransferConfig(form="published", mask_branch="fcn+mlp", head_width=8, head_depth=1),
            class_weights=weights,
            category_names=[str(number) for number in range(num_classes)],
            in_channels=5,
            roi_size=SIZE,
        ).eval()
        labels = torch.tensor([1, 80, 7, num_classes, num_classes - 1])
        with FlopCounterMode(display=False) as work, _Made() as memory:
            masks = masks_of(model, torch.randn(5, 5, SIZE, SIZE), labels, device=CPU, amp_dtype=None)
        assert masks.shape == (5, 2 * SIZE, 2 * SIZE)
        counts.append((work.get_total_flops(), memory.values))
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0


class _Made(TorchDispatchMode):
    """Counts the values of all tensors that operations return."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.values += sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
        return out
