"""The training step of the detector at full size, ours and torchvision's, on images that lie on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from e2e_step import replace_proposals, training_step
from side_by_side import Measured
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from maskx_pipeline.config import DetectConfig, ShapesConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.dataset import DetectionDataset, batches
from maskx_pipeline.detection.backbone import train_stages
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.device import amp_dtype
from maskx_pipeline.engine.schedule import build_optimizer
from maskx_pipeline.shapes.generate import generate_shapes

CATEGORIES, OBJECTS = 80, 7
_DAMPED = 0.2


class Batch(NamedTuple):
    """Images FloatTensor[3, H, W] in 0..1 and their targets, as the data set gives them."""

    images: list[Tensor]
    targets: list[dict[str, Any]]


def make_batch(images: int, side: int, device: torch.device) -> Batch:
    """Images of 480 x 640, for a short side of 800, with as many objects as COCO's have."""
    height, width = side * 3 // 5, side * 4 // 5
    generator = torch.Generator().manual_seed(0)
    pixels, targets = [], []
    for _ in range(images):
        coarse = torch.rand(3, height // 8, width // 8, generator=generator)
        pixels.append(coarse.repeat_interleave(8, 1).repeat_interleave(8, 2).to(device))
        corner = torch.rand(OBJECTS, 2, generator=generator) * side / 4
        boxes = torch.cat([corner, corner + side / 40 + torch.rand(OBJECTS, 2, generator=generator) * side / 4], dim=1)
        labels = torch.randint(1, CATEGORIES + 1, (OBJECTS,), generator=generator)
        targets.append({"boxes": boxes.to(device), "labels": labels.to(device)})
    return Batch(pixels, targets)


def our_step(batch: Batch, side: int, amp: str, device: torch.device) -> Callable[[], None]:
    """That of `maskx detect train` with its default settings, at a start from weights: frozen normalisation."""
    config = DetectConfig(backbone_weights="none", norm="frozen", min_size=side, max_size=5 * side // 3)
    model = build_detector(num_classes=CATEGORIES + 1, **detector_arguments(config))
    train_stages(model, config.trainable_layers)
    _damp(model)
    model.to(device).train()
    optimizer = build_optimizer(model, lr=0.0, momentum=0.9, weight_decay=1e-4, bias_lr_factor=2.0)
    return _step(model, batch, side, amp, device, optimizer)


def torchvision_step(batch: Batch, side: int, amp: str, device: torch.device) -> Callable[[], None]:
    """That of torchvision's own Faster R-CNN, with as many proposals and sampled RoIs."""
    config = DetectConfig()
    backbone = resnet_fpn_backbone(
        backbone_name=config.backbone,
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=config.trainable_layers,
    )
    model = FasterRCNN(
        backbone,
        num_classes=CATEGORIES + 1,
        min_size=side,
        max_size=5 * side // 3,
        rpn_pre_nms_top_n_train=config.rpn_pre_nms,
        rpn_post_nms_top_n_train=config.rpn_post_nms,
        box_batch_size_per_image=config.rois_per_image,
    )
    _damp(model)
    model.to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0, momentum=0.9, weight_decay=1e-4)
    return _step(model, batch, side, amp, device, optimizer)


def _damp(model: nn.Module) -> None:
    """Keep what residual blocks add small: with frozen normalisation random weights would let numbers overflow."""
    for name, module in model.named_modules():
        if name.endswith("bn3") and isinstance(module, FrozenBatchNorm2d):
            module.weight.fill_(_DAMPED)


def _step(
    model: FasterRCNN,
    batch: Batch,
    side: int,
    amp: str,
    device: torch.device,
    optimizer: torch.optim.Optimizer,
) -> Callable[[], None]:
    scaled = [{**target, "boxes": target["boxes"] * 5 / 3} for target in batch.targets]
    replace_proposals(model, scaled, side=side)

    def losses() -> dict[str, Tensor]:
        found: dict[str, Tensor] = model(batch.images, [dict(target) for target in batch.targets])
        return found

    return training_step(losses, optimizer, device=device, dtype=amp_dtype(amp, device))


def time_loading(folder: Path, device: torch.device, *, workers: int, images: int) -> Measured:
    """Seconds of a batch of 16, after those that the start of the processes takes."""
    if not folder.exists():
        few = {"shapes": 2, "textures": 1, "hues": 2}
        generate_shapes(ShapesConfig(out=folder, train_count=images, val_count=4, image_size=552, masks="all", **few))
    data = read_coco(folder / "train.json", folder / "train")
    dataset = DetectionDataset(data, flip_probability=0.5, seed=0)
    source = batches(dataset, images_per_batch=16, start=0, iterations=40, seed=0, workers=workers, device=device)
    for _ in range(10):
        next(source)
    began = time.perf_counter()
    for _ in range(30):
        next(source)
    seconds = (time.perf_counter() - began) / 30
    return Measured((seconds,), (seconds,))
