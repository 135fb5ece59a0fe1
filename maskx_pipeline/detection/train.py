"""Stage 1: train Faster R-CNN on the boxes of all categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.dataset import DetectionDataset, batches
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.loop import build_optimizer, lr_factor, run_loop, seed_step
from maskx_pipeline.engine.runlog import Run

BEST_METRIC = "box_ap"

_BEFORE_TRAINING = -1


def train_detector(
    config: DetectConfig,
    train: CocoData,
    *,
    run: Run,
    evaluate: Callable[[FasterRCNN], dict[str, float]] | None,
) -> None:
    """Train a detector, or continue to, and finish the run.

    Args:
        config: The settings.
        train: The training data; masks are not looked at.
        run: The open run; it gets best.safetensors, last.safetensors and the categories.
        evaluate: Measures the detector; its ``box_ap`` decides which weights are the best.

    Raises:
        RunError: The loss is not finite.
        DataError: No image has a box, or an image cannot be read.
    """
    device = resolve_device(config.device)
    dtype = amp_dtype(config.amp, device)
    run.update(categories=[{"id": category.id, "name": category.name} for category in train.categories])
    dataset = DetectionDataset(train, flip_probability=config.flip, seed=config.seed)
    seed_step(config.seed, _BEFORE_TRAINING)
    detector = build_detector(num_classes=train.num_classes + 1, **detector_arguments(config)).to(device)
    wrapped = distributed.wrap(detector, device)
    source: Iterator[tuple[list[Tensor], list[dict[str, Any]]]] | None = None

    def loss_at(step: int) -> dict[str, Tensor]:
        nonlocal source
        if source is None:
            source = batches(
                dataset,
                images_per_batch=config.images_per_batch,
                start=step,
                iterations=config.iterations,
                seed=config.seed,
                workers=config.workers,
                rank=distributed.rank(),
                world_size=distributed.world_size(),
                device=device,
            )
        losses: dict[str, Tensor] = wrapped(*next(source))
        return losses

    def lr_at(step: int) -> float:
        return config.lr * lr_factor(
            step,
            warmup_iterations=config.warmup_iterations,
            warmup_factor=config.warmup_factor,
            drops=config.steps,
            gamma=config.gamma,
        )

    metrics = run_loop(
        module=detector,
        optimizer=build_optimizer(
            detector,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            bias_lr_factor=config.bias_lr_factor,
        ),
        lr_at=lr_at,
        loss_at=loss_at,
        iterations=config.iterations,
        run=run,
        seed=config.seed,
        clip_grad_norm=config.clip_grad_norm,
        amp_dtype=dtype,
        device=device,
        checkpoint_every=config.checkpoint_every,
        evaluate=None if evaluate is None else lambda _: evaluate(detector),
        evaluate_every=config.eval_every,
        best_metric=BEST_METRIC,
        desc="detect",
    )
    run.finish(**metrics)
