"""The GPU computes what the CPU computes: same weights, float32, within its rounding."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpu_world import DEVICE, maskx, relative
from torch import Tensor

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.config.transfer import MASK_HEADS
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.load import load_detector
from maskx_pipeline.detection.matching import Pairs, PiecewiseMatcher
from maskx_pipeline.detection.pooling import POOLED_LEVELS, PyramidPool
from maskx_pipeline.engine.device import autocast
from maskx_pipeline.engine.schedule import build_optimizer
from maskx_pipeline.transfer.box_losses import BoxLosses
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.roi_batches import Drawing, box_rois, mask_rois

Measured = Callable[[str], None]
EXACT = 1e-4
"""Relative to the largest entry, in float32 with the matrix units' TF32 switched off."""

CATEGORIES, CHANNELS, SIDE, ROIS = 6, 16, 8, 12


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions and products without TF32, which a GPU otherwise takes for convolutions."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def mask_model(**changes: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    weights = ClassWeights(
        torch.randn(CATEGORIES, 10), torch.zeros(CATEGORIES), torch.randn(CATEGORIES, 40), torch.zeros(CATEGORIES, 4)
    )
    config = TransferConfig(**{"head_width": 32, "head_depth": 2, "components": 4, "hide_own": None, **changes})
    model = new_mask_model(
        config,
        class_weights=weights,
        category_names=[f"category {n}" for n in range(CATEGORIES)],
        in_channels=CHANNELS,
        roi_size=SIDE,
        seen=[1, 2, 3, 5],
    )
    with torch.no_grad():
        for parameter in model.predictor.parameters():  # they start near zero, where every mask is alike
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def batch(device: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    corner = 40 * torch.rand(ROIS, 2, generator=generator)
    boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(ROIS, 2, generator=generator)], dim=1)
    made = {
        "features": torch.randn(ROIS, CHANNELS, SIDE, SIDE, generator=generator).half(),
        "labels": torch.randint(1, CATEGORIES + 1, (ROIS,), generator=generator),
        "targets": torch.randint(0, 2, (ROIS, 2 * SIDE, 2 * SIDE), generator=generator, dtype=torch.uint8),
        "objects": boxes,
        "rois": boxes + torch.randn(ROIS, 4, generator=generator),
        "colours": torch.randint(0, 256, (ROIS, 2 * SIDE, 2 * SIDE, 3), generator=generator, dtype=torch.uint8),
    }
    return {name: value.to(device) for name, value in made.items()}


def losses_and_gradients(device: str, amp_dtype: torch.dtype | None = None, **changes: Any) -> dict[str, Tensor]:
    """Logits, losses and all gradients of one step."""
    model, inputs = mask_model(**changes).to(device).train(), batch(device)
    torch.manual_seed(2)  # which similarities are hidden
    with autocast(torch.device(device), amp_dtype):
        logits = model(inputs["features"], inputs["labels"])
        losses = {"mask": mask_loss(logits, inputs["targets"])}
        losses |= BoxLosses.named("projection+pairwise")(
            logits, inputs["objects"], inputs["rois"], inputs["colours"], weight=0.5
        )
    torch.stack(list(losses.values())).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits, **losses, **gradients}


KINDS: list[dict[str, Any]] = [
    *[{"mask_head": name} for name in MASK_HEADS if name not in ("hourglass100",)],
    {"mask_head": "resnet4", "head_norm": "batch"},
    {"form": "published", "embedding": "box", "coordinates": False},
    {"form": "linear", "embedding": "cls"},
    {"embedding": "none"},
    {"embedding": "none", "class_specific": True, "mask_branch": "fcn+mlp"},
]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_a_step_of_stage_2_is_that_of_the_cpu(changes: dict[str, Any], measured: Measured) -> None:
    """Logits, losses and gradients; on the CPU the deconvolution is written as a product of matrices."""
    with full_float32():
        expected, found = losses_and_gradients("cpu", **changes), losses_and_gradients(DEVICE, **changes)
    off = {name: relative(found[name], value) for name, value in expected.items() if value.abs().max() > 1e-6}
    worst = max(off, key=off.__getitem__)
    measured(f"at most {off[worst]:.1e}, in {worst}; of the logits {off['logits']:.1e}")
    assert off["logits"] < EXACT
    # A gradient is a sum in which ReLUs near zero may fall on the other side.
    assert off[worst] < 20 * EXACT


@pytest.mark.parametrize("name", ["float32 with TF32", "bfloat16", "float16"])
def test_lower_precision_is_near(name: str, measured: Measured) -> None:
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    expected, found = losses_and_gradients("cpu"), losses_and_gradients(DEVICE, dtype)
    off = {key: relative(found[key], value) for key, value in expected.items() if value.abs().max() > 1e-6}
    measured(f"logits {off['logits']:.1e}, mask loss {off['mask']:.1e}, gradients at most {max(off.values()):.1e}")
    assert off["logits"] < 0.05
    assert off["mask"] < 0.01


@pytest.mark.parametrize("pooling", ["assigned", "finest+assigned"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pooling_and_its_gradient_are_those_of_the_cpu(pooling: str, dtype: torch.dtype, measured: Measured) -> None:
    """There it is a sum of feature vectors, here torchvision's RoIAlign."""
    generator = torch.Generator().manual_seed(0)
    maps = {name: torch.randn(2, 8, 128 >> i, 192 >> i, generator=generator) for i, name in enumerate(POOLED_LEVELS)}
    corner = torch.rand(40, 2, generator=generator) * torch.tensor([600.0, 400.0])
    boxes = torch.cat([corner, corner + 4 + 160 * torch.rand(40, 2, generator=generator)], dim=1)
    weights = torch.randn(40, 8 * (1 + (pooling != "assigned")), 7, 7, generator=generator)
    found = []
    for device in ("cpu", DEVICE):
        leaves = {name: level.to(device, dtype).requires_grad_() for name, level in maps.items()}
        pool = PyramidPool(roi_size=7, canonical_box_size=64, pooling=pooling)
        pooled = pool(leaves, [boxes[:25].to(device), boxes[25:].to(device)], [(512, 768)] * 2)
        assert pooled.dtype == dtype
        (pooled.float() * weights.to(device)).sum().backward()
        found.append([pooled, *(level.grad for level in leaves.values())])
    off = [relative(mine, theirs) for theirs, mine in zip(*found, strict=True) if theirs is not None]
    measured(f"{off[0]:.1e}; gradients at most {max(off[1:]):.1e}")
    assert max(off) < {torch.float32: EXACT, torch.bfloat16: 0.02, torch.float16: 0.003}[dtype]


def test_anchors_are_matched_as_by_torchvision() -> None:
    """Pieces of objects, on the device."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(3000, 2, generator=generator) * 200
    boxes = torch.cat([corner, corner + 5 + 60 * torch.rand(3000, 2, generator=generator)], dim=1).to(DEVICE)
    matcher = PiecewiseMatcher(0.7, 0.3, allow_low_quality_matches=True)
    whole = matcher(Pairs(boxes[:30], boxes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maskx_pipeline.detection.matching._PAIRS", 4000)
        assert torch.equal(matcher(Pairs(boxes[:30], boxes)), whole)


def test_a_detector_looks_as_on_the_cpu(project: Path, measured: Measured) -> None:
    """Features, proposals and detections of an image, with the same weights."""
    image = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[4.0, 4, 40, 60], [10, 20, 90, 90], [0, 0, 12, 12]])
    seen = {}
    with full_float32():
        for device in ("cpu", DEVICE):
            frozen = FrozenDetector(
                load_detector(project / "runs/detector").model, device=torch.device(device), amp_dtype=None
            )
            found = frozen.extract(image)
            seen[device] = (found.pool(boxes, 14), found.detections, found.proposals_xyxy)
    (theirs, expected, proposals), (mine, detections, own_proposals) = seen["cpu"], seen[DEVICE]
    off = relative(mine, theirs)
    count = min(len(expected), len(detections), 3)
    scores = relative(detections.scores[:count], expected.scores[:count])
    measured(
        f"features {off:.1e}, best scores {scores:.1e}, {len(own_proposals)} and {len(proposals)} proposals, "
        f"{len(detections)} and {len(expected)} detections"
    )
    assert off < 10 * EXACT
    assert scores < 0.01
    assert len(detections) > 0


@pytest.mark.parametrize("feature_dtype", ["float16", "int8"])
@pytest.mark.parametrize("cache_in", ["gpu", "ram"])
def test_batches_are_the_same_from_wherever_they_come(
    project: Path, feature_dtype: str, cache_in: str, tmp_path: Path
) -> None:
    """Also the next one is read while a batch is computed with, and no batch is overwritten before its step is done."""
    if DEVICE != "cuda" and cache_in == "gpu":
        pytest.skip("needs CUDA")
    path = tmp_path / "cache.h5"
    maskx(project, "export-embeddings", "--feature-dtype", feature_dtype, "--out", str(path))
    with RoICache(path) as cache, contextlib.ExitStack() as stack:
        seen = sorted(set(cache.train.labels[cache.train.has_mask == 1].tolist()))
        streams = {}
        for place, device in (("disk", "cpu"), (cache_in, DEVICE)):
            drawing = Drawing(seed=0, device=torch.device(device), cache_in=place, streams=2)
            masks = stack.enter_context(mask_rois(cache, seen, drawing, rois_per_batch=5))
            boxes = box_rois(cache, seen, drawing, rois_per_batch=5, colours=True)
            assert boxes is not None
            streams[device, place] = (masks, stack.enter_context(boxes))
        expected, found = streams.values()
        for step in range(12):
            for reference, stream in zip(expected, found, strict=True):
                wanted = [column.clone() for column in reference.batch(step)]
                columns = stream.batch(step)
                busy = sum(
                    torch.randn(500, 500, device=DEVICE) @ torch.randn(500, 500, device=DEVICE) for _ in range(5)
                )
                later = [column + 0 for column in columns]
                assert torch.isfinite(busy).all()
                assert all(torch.equal(mine.cpu(), theirs) for mine, theirs in zip(later, wanted, strict=True))
                assert {column.device.type for column in columns} == {DEVICE}


def test_ap_is_near_that_of_the_cpu(project: Path, tmp_path: Path, measured: Measured) -> None:
    """Of one model in float32, from the same cache, and from images."""
    maskx(project, "export-embeddings", "--amp", "off", "--out", str(tmp_path / "cache.h5"))
    words = ("--amp", "off", "--cache", str(tmp_path / "cache.h5"), "--out", str(tmp_path), "--name", "run")
    maskx(project, "fit-transfer", *words)
    found = {}
    for origin in ("cache", "images"):
        for device in ("cpu", DEVICE):
            words = ("evaluate", "--model", str(tmp_path / "run"), "--from", origin, "--device", device, "--overwrite")
            text = maskx(project, *words, "--json").stdout
            found[origin, device] = numbers_of(json.loads(text))
    for origin in ("cache", "images"):
        expected, mine = found[origin, "cpu"], found[origin, DEVICE]
        off = float(np.nanmax(np.abs(np.array(mine) - np.array(expected)), initial=0.0))
        measured(f"from {origin}: {len(mine)} figures differ by {off:.2g} at most")
        assert off < 3


def numbers_of(value: Any) -> list[float]:
    """All numbers of a report, in order; None counts as not a number."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers_of(part)]
    if isinstance(value, list):
        return [number for part in value for number in numbers_of(part)]
    if isinstance(value, bool | str):
        return []
    return [float("nan") if value is None else float(value)]


@pytest.mark.parametrize("dtype", [torch.float16])
def test_a_first_step_that_overflows_is_skipped_whole(dtype: torch.dtype) -> None:
    """Weights stay, and so does the momentum of the next step: it is zero, not what lay in memory."""
    if DEVICE != "cuda":
        pytest.skip("needs CUDA")
    module = torch.nn.Linear(64, 64, device=DEVICE)
    before = module.weight.detach().clone()
    junk = [torch.full((64, 64), 9.0, device=DEVICE) for _ in range(50)]
    del junk
    optimizer = build_optimizer(module, lr=1.0, momentum=0.9, weight_decay=0.0, bias_lr_factor=1.0)
    scaler = torch.amp.GradScaler(DEVICE)
    for factor in (float("inf"), 0.0):
        with autocast(torch.device(DEVICE), dtype):
            loss = (module(torch.ones(2, 64, device=DEVICE)) * factor).float().sum()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert torch.equal(module.weight, before)
