"""Train detector, T and mask head together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from maskx_pipeline.config import E2EConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.dataset import DetectionDataset, batches
from maskx_pipeline.e2e.joint_model import JointModel
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.e2e.start import Start, build_joint_model
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.loop import build_optimizer, lr_factor, run_loop, seed_step
from maskx_pipeline.engine.runlog import Run

BEST_METRIC = "seen_mask_ap"

_BEFORE_TRAINING = -1


def train_joint_model(
    config: E2EConfig,
    train: CocoData,
    *,
    start: Start,
    seen: frozenset[int],
    run: Run,
    evaluate: Callable[[JointModel], dict[str, float]],
) -> None:
    """Train, or continue to, and finish the run.

    Args:
        config: The settings.
        train: The training data; only masks of seen categories are looked at.
        start: What it starts from.
        seen: Labels of the categories whose masks may be used.
        run: The open run; it gets best.safetensors, last.safetensors and what describes the model.
        evaluate: Measures the model; its ``seen_mask_ap`` decides which weights are the best.

    Raises:
        ConfigError: The settings do not suit the start.
        DataError: No image has a box, no seen category has a mask, or an image cannot be read.
        RunError: The loss is not finite.
    """
    device = resolve_device(config.device)
    dataset = DetectionDataset(train, flip_probability=config.flip, seed=config.seed)
    masks = SeenMasks(train, seen=seen, size=2 * config.roi_size)
    seed_step(config.seed, _BEFORE_TRAINING)
    model = build_joint_model(config, start, categories=train.categories).to(device)
    run.update(
        categories=[{"id": category.id, "name": category.name} for category in train.categories],
        seen=[category.id for category in train.categories if category.label in seen],
        detect=start.detect.to_mapping(),
        transfer=start.transfer.to_mapping(),
    )
    wrapped = distributed.wrap(model, device)
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
        losses: dict[str, Tensor] = wrapped(*next(source), masks)
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
        module=model,
        optimizer=build_optimizer(
            model,
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
        amp_dtype=amp_dtype(config.amp, device),
        device=device,
        checkpoint_every=config.checkpoint_every,
        evaluate=lambda _: evaluate(model),
        evaluate_every=config.eval_every,
        best_metric=BEST_METRIC,
        desc="e2e",
    )
    run.finish(**metrics)
