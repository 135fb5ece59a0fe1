"""No tensor is left on the CPU when a model runs on a GPU, and none comes out on the wrong device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from e2e_world import ROI_SIZE, detect_config, joint_model, write_data
from pretended_cuda import Pretended, pretended_cuda
from torch import Tensor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.config.transfer import EMBEDDINGS, FORMS, MASK_HEADS
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.dataset import DetectionDataset, as_floats
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.engine.device import autocast
from maskx_pipeline.transfer.box_losses import BoxLosses
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.whole_model import WholeModel

DTYPES = [None, torch.bfloat16, torch.float16]
CATEGORIES, CHANNELS, SIDE, ROIS = 5, 8, 6, 7


@pytest.fixture
def device() -> Iterator[torch.device]:
    with pretended_cuda() as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoData:
    config = write_data(tmp_path_factory.mktemp("data"))
    return read_coco(config.train_annotations, config.train_images)


def places(tensors: Any) -> set[str]:
    """The kinds of device that they are on."""
    return {tensor.device.type for tensor in tensors}


def test_the_pretence_refuses_what_cuda_refuses(device: torch.device) -> None:
    """A tensor of the CPU beside one of the device, its own memory as an array; but not single numbers or indices."""
    tensor = torch.arange(6.0, device=device)
    for wrong in (
        lambda: tensor + torch.ones(6),
        lambda: torch.cat([tensor, torch.ones(6)]),
        lambda: torch.where(torch.ones(6, dtype=torch.bool), tensor, tensor),
        lambda: tensor.index_select(0, torch.tensor([1])),
    ):
        with pytest.raises(RuntimeError, match="one device"):
            wrong()
    with pytest.raises((TypeError, RuntimeError), match="numpy"):
        tensor.numpy()
    assert (tensor[torch.tensor([1, 3])] + torch.tensor(1.0)).tolist() == [2, 4]
    assert places([tensor, tensor.new_zeros(2), torch.zeros_like(tensor), torch.zeros(2).to(tensor)]) == {"cuda"}
    assert places([tensor.cpu(), tensor.to("cpu"), torch.zeros(2)]) == {"cpu"}


def test_float16_and_bfloat16_are_computed_in(device: torch.device) -> None:
    layer = torch.nn.Linear(3, 2).to(device)
    for dtype in DTYPES:
        with autocast(device, dtype):
            assert layer(torch.ones(1, 3, device=device)).dtype == (dtype or torch.float32)


def tiny_detector(**changes: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_detector(num_classes=4, **detector_arguments(detect_config(cls_init_std=0.3, **changes)))


def batch_of(data: CocoData, device: torch.device) -> tuple[list[Tensor], list[dict[str, Any]]]:
    dataset = DetectionDataset(data, flip_probability=0.5, seed=0)
    items = [dataset[dataset.key(0, index)] for index in (0, 1)]
    targets = [{k: v.to(device) if isinstance(v, Tensor) else v for k, v in target.items()} for _, target in items]
    return [as_floats(image, device) for image, _ in items], targets


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("changes", [{}, {"norm": "frozen"}, {"architecture": "v2"}, {"other_outputs": 3}], ids=str)
def test_a_step_of_the_detector(
    data: CocoData, device: torch.device, dtype: torch.dtype | None, changes: dict[str, Any]
) -> None:
    model = tiny_detector(**changes).to(device).train()
    with autocast(device, dtype):
        losses = model(*batch_of(data, device))
    assert len(losses) == 4
    assert places(losses.values()) == {"cuda"}
    assert all(float(loss.detach()) < 100 for loss in losses.values())


def test_many_objects_are_matched_in_pieces(
    data: CocoData, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskx_pipeline.detection.matching._PAIRS", 500)
    losses = tiny_detector().to(device).train()(*batch_of(data, device))
    assert places(losses.values()) == {"cuda"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["assigned", "finest+assigned"])
def test_the_frozen_detector(device: torch.device, dtype: torch.dtype | None, pooling: str) -> None:
    """It takes images and boxes from the CPU; what it gives lies on its device."""
    frozen = FrozenDetector(tiny_detector(), device=device, amp_dtype=dtype, pooling=pooling)
    seen = frozen.extract(torch.rand(3, 64, 96))
    found = seen.detections
    assert len(found) > 0
    pooled = seen.pool(torch.tensor([[2.0, 3, 30, 40], [0, 0, 96, 64]]), 7)
    assert pooled.shape == (2, frozen.channels, 7, 7)
    assert seen.pool(torch.zeros(0, 4), 7).shape == (0, frozen.channels, 7, 7)
    assert places([pooled, seen.proposals_xyxy, found.boxes_xyxy, found.scores, found.labels]) == {"cuda"}
    assert places(vars_of(frozen.class_weights)) == {"cpu"}


def vars_of(weights: ClassWeights) -> list[Tensor]:
    return [weights.w_cls, weights.b_cls, weights.w_box, weights.b_box]


def mask_model(channels: int = CHANNELS, roi_size: int = SIDE, **changes: Any) -> MaskModel:
    torch.manual_seed(0)
    widths = (6, 1, 24, 4)
    weights = ClassWeights(*(torch.randn(CATEGORIES, width) for width in widths))
    settings = {"head_width": 32, "head_depth": 1, "components": 3, "embedding_dim": 12, **changes}
    return new_mask_model(
        TransferConfig(**settings),
        class_weights=weights,
        category_names=["ant", "bee", "cat", "dog", "elk"],
        in_channels=channels,
        roi_size=roi_size,
        seen=[1, 2, 4],
    )


def check_stage_2(model: MaskModel, device: torch.device, dtype: torch.dtype | None) -> None:
    """Training and evaluation: logits, the mask loss and the box losses."""
    model.to(device)
    features = torch.randn(ROIS, CHANNELS, SIDE, SIDE).half().to(device)
    labels = torch.randint(1, CATEGORIES + 1, (ROIS,)).to(device)
    size = model.head.mask_size(SIDE)
    targets = torch.randint(0, 2, (ROIS, size, size), dtype=torch.uint8).to(device)
    boxes = (torch.rand(ROIS, 4) + torch.tensor([0.0, 0, 20, 30])).to(device)
    colours = torch.randint(0, 256, (ROIS, size, size, 3), dtype=torch.uint8).to(device)
    for training in (True, False):
        model.train(training)
        with autocast(device, dtype):
            logits = model(features, labels)
            losses = [mask_loss(logits, targets)]
            found = BoxLosses.named("projection+pairwise")
            losses += found(logits, boxes, boxes + 1, colours, weight=0.5).values()
        assert places([logits, *losses, *found.zeros(device).values(), model.mask_weights()]) == {"cuda"}
        assert all(float(loss.detach()) < 100 for loss in losses)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_every_embedding_and_form(
    device: torch.device, embedding: str, form: str, dtype: torch.dtype | None, tmp_path: Path
) -> None:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(CATEGORIES, 9)).astype(np.float32))
    model = mask_model(embedding=embedding, form=form, embedding_file=tmp_path / "vectors.npy")
    check_stage_2(model, device, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "changes",
    [
        *({"mask_head": name} for name in MASK_HEADS if name != "hourglass100"),
        {"mask_head": "resnet4", "head_norm": "batch"},
        {"mask_head": "hourglass10", "coordinates": False},
        {"mask_branch": "fcn+mlp", "mlp_layers": 2},
        {"embedding": "none"},
        {"embedding": "none", "mask_branch": "mlp"},
        {"embedding": "none", "class_specific": True},
        {"condition": "centred", "kernel": "rbf"},
        {"layers": 3, "activation": "relu", "form": "published"},
    ],
    ids=str,
)
def test_every_mask_head_and_branch(device: torch.device, changes: dict[str, Any], dtype: torch.dtype | None) -> None:
    check_stage_2(mask_model(**changes), device, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["assigned", "finest+assigned"])
def test_the_whole_model_takes_from_the_cpu_and_gives_to_it(
    device: torch.device, dtype: torch.dtype | None, pooling: str
) -> None:
    frozen = FrozenDetector(tiny_detector(), device=device, amp_dtype=dtype, pooling=pooling)
    whole = WholeModel(frozen, mask_model(frozen.channels, ROI_SIZE), roi_size=ROI_SIZE, device=device, amp_dtype=dtype)
    boxes, labels = torch.tensor([[2.0, 3, 30, 40], [0, 0, 96, 64]]), torch.tensor([1, 3])
    found, masks = whole.predict_and_segment(torch.rand(3, 64, 96), boxes, labels)
    assert len(found) > 0
    assert places([found.boxes_xyxy, found.scores, found.labels, found.mask_probs, masks]) == {"cpu"}
    assert not isinstance(masks, Pretended)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "changes",
    [{}, {"form": "rbf", "coordinates": True}, {"box_loss": "projection+pairwise"}, {"embedding": "none"}],
    ids=str,
)
def test_a_step_of_joint_training(
    data: CocoData, device: torch.device, dtype: torch.dtype | None, changes: dict[str, Any]
) -> None:
    model = joint_model(data, stop_gradient=False, **changes).to(device)
    masks = SeenMasks(data, seen={1, 2}, size=2 * ROI_SIZE)
    with autocast(device, dtype):
        losses = model(*batch_of(data, device), masks, 1.0)
    assert {"loss_mask", "loss_classifier"} <= losses.keys()
    assert places(losses.values()) == {"cuda"}
    model.eval()
    assert places(model.state_dict().values()) == {"cuda"}
    found = model.whole_model(device=device, amp_dtype=dtype).predict(torch.rand(3, 64, 96))
    assert places([found.mask_probs, found.labels]) == {"cpu"}
