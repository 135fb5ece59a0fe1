"""What a step costs on this machine, timed with models that nothing is learnt by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.config import DetectConfig, TransferConfig
from maskx_pipeline.config.detection import NONE
from maskx_pipeline.data.dataset import DetectionDataset, batches
from maskx_pipeline.data.records import Category, CocoData
from maskx_pipeline.detection.backbone import train_stages
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.device import amp_dtype, autocast
from maskx_pipeline.engine.schedule import build_optimizer
from maskx_pipeline.evaluation.paste import paste_to_rle
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.loss import mask_loss

_STEPS = 2  # that are timed, after one that warms up
_ROIS = 16  # of a step on the CPU, where the time of an RoI hardly depends on their number
_MASKS = 50
_IMAGE_SIDE = 640  # on which masks are pasted


@dataclass(frozen=True, slots=True)
class HeadCosts:
    """Of the mask model: seconds of a training step per RoI, seconds of a mask at test, and its parameters."""

    step: float
    mask: float
    parameters: int
    device: torch.device


def untrained_detector(config: DetectConfig, num_classes: int) -> FasterRCNN:
    """A detector of these settings with random weights, so that nothing is downloaded.

    Its normalisation is that of batches, since frozen in a random state it would let numbers overflow.
    """
    arguments = {**detector_arguments(config), "backbone_weights": NONE, "norm": "batch"}
    detector = build_detector(num_classes=num_classes + 1, **arguments)
    if config.backbone_weights != NONE:
        train_stages(detector, config.trainable_layers)
    return detector


def seconds_of_detector_step(
    config: DetectConfig, model: FasterRCNN, train: CocoData, *, device: torch.device
) -> float:
    """Seconds of a training step per image, on images of the data set; the model is moved, and its weights change."""
    images = min(config.images_per_batch, 1 if device.type == "cpu" else 2)
    dataset = DetectionDataset(train, flip_probability=0.0, seed=config.seed)
    source = batches(
        dataset, images_per_batch=images, start=0, iterations=1 + _STEPS, seed=config.seed, workers=0, device=device
    )
    model.to(device).train()
    optimizer = _optimizer(model)
    dtype = amp_dtype(config.amp, device)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(device, dtype):
            losses: dict[str, Tensor] = model(*next(source))
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return _time(step, device) / images


def head_costs(
    config: TransferConfig,
    *,
    weights: ClassWeights,
    categories: Sequence[Category],
    channels: int,
    roi_size: int,
    device: torch.device,
) -> HeadCosts:
    """Time the mask model on random features."""
    model = new_mask_model(
        config,
        class_weights=weights,
        category_names=[category.name for category in categories],
        in_channels=channels,
        roi_size=roi_size,
    ).to(device)
    rois = min(config.rois_per_batch, _ROIS) if device.type == "cpu" else config.rois_per_batch
    features = torch.rand(rois, channels, roi_size, roi_size, device=device)
    labels = torch.randint(1, len(categories) + 1, (rois,), device=device)
    side = model.head.mask_size(roi_size)
    targets = torch.randint(0, 2, (rois, side, side), dtype=torch.uint8, device=device)
    optimizer = _optimizer(model)
    dtype = amp_dtype(config.amp, device)

    def step() -> None:
        optimizer.zero_grad()
        with autocast(device, dtype):
            loss = mask_loss(model(features, labels), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def forward() -> None:
        with torch.no_grad(), autocast(device, dtype):
            model(features, labels).float().sigmoid().cpu()

    corners = torch.rand(_MASKS, 2) * _IMAGE_SIDE / 2
    boxes = torch.cat([corners, corners + 10 + torch.rand(_MASKS, 2) * _IMAGE_SIDE / 2], dim=1)
    probs = torch.rand(_MASKS, 1, 1) * torch.linspace(0, 2, side).expand(side, -1)

    def paste() -> None:
        paste_to_rle(probs, boxes, _IMAGE_SIDE, _IMAGE_SIDE)

    mask = _time(forward, device) / rois + _time(paste, torch.device("cpu")) / _MASKS
    return HeadCosts(_time(step, device) / rois, mask, sum(p.numel() for p in model.parameters()), device)


def _optimizer(module: torch.nn.Module) -> torch.optim.SGD:
    """One whose steps cost what those of training do, and change nothing."""
    return build_optimizer(module, lr=0.0, momentum=0.9, weight_decay=0.0, bias_lr_factor=1.0)


def _time(call: Callable[[], None], device: torch.device) -> float:
    """Seconds of a call, the mean of a few."""
    for number in range(1 + _STEPS):
        if number == 1:
            _finish(device)
            began = time.perf_counter()
        call()
    _finish(device)
    return (time.perf_counter() - began) / _STEPS


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
