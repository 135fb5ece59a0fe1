"""What training on images has in common, of the detector alone and of the e2e model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from maskx_pipeline.config import DetectConfig, E2EConfig
from maskx_pipeline.config.first_schedule import default_passes
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.dataset import DetectionDataset, Target, batches
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, deterministic, resolve_device
from maskx_pipeline.engine.loop import run_loop
from maskx_pipeline.engine.runlog import Run
from maskx_pipeline.engine.schedule import schedule_of
from maskx_pipeline.errors import ConfigError

BEFORE_TRAINING = -1
"""The step whose seed the untrained model is built with."""

_MUCH = 2  # so many times the passes that `maskx init` would choose

logger = logging.getLogger("maskx")


def train_on_images(
    config: DetectConfig | E2EConfig,
    train: CocoData,
    *,
    module: nn.Module,
    losses_of: Callable[[nn.Module, list[Tensor], list[Target], float], dict[str, Tensor]],
    run: Run,
    evaluate: Callable[[], dict[str, float]] | None,
    best_metric: str,
    desc: str,
) -> dict[str, float]:
    """Train a model on batches of images, or continue to; the caller finishes the run.

    Args:
        module: What is trained; it is on the device of ``config``.
        losses_of: Calls the module, which may be wrapped for several processes, with images FloatTensor[3, H, W] in
            0..1, their targets, and how far what begins after the warm-up has grown, 0..1; returns named losses.

    Returns:
        The last metrics.

    Raises:
        ConfigError: The images of a batch cannot be shared out among the parts and the processes.
        DataError: No image has a box, or an image cannot be read.
        RunError: The loss is not finite.
    """
    device = resolve_device(config.device)
    if config.images_per_batch % config.accumulate:
        raise ConfigError(
            f"{config.images_per_batch} images per batch cannot be gone through in {config.accumulate} equal parts.",
            f"give --images-per-batch a multiple of {config.accumulate}",
        )
    dataset = DetectionDataset(
        train,
        flip_probability=config.flip,
        seed=config.seed,
        augment=config.augment,
        colour_jitter=config.colour_jitter,
    )
    wrapped = distributed.wrap(module, device)
    schedule = schedule_of(
        config, iterations=config.iterations, warmup_iterations=config.warmup_iterations, drops=config.steps
    )
    source: Iterator[tuple[list[Tensor], list[dict[str, Any]]]] | None = None
    if config.lr == "auto":
        logger.info("The learning rate is %g, for %d images an iteration.", schedule.lr, config.images_per_batch)
    run.update(lr=schedule.lr)
    if note := long_schedule(config, images=len(dataset)):
        logger.warning(note)

    def loss_at(step: int) -> dict[str, Tensor]:
        nonlocal source
        if source is None:
            source = batches(
                dataset,
                images_per_batch=config.images_per_batch // config.accumulate,
                start=step * config.accumulate,
                iterations=config.iterations * config.accumulate,
                seed=config.seed,
                workers=config.workers,
                rank=distributed.rank(),
                world_size=distributed.world_size(),
                device=device,
            )
        return losses_of(wrapped, *next(source), schedule.ramp_at(step))

    with deterministic(config.deterministic, device):
        return run_loop(
            module=module,
            schedule=schedule,
            loss_at=loss_at,
            run=run,
            seed=config.seed,
            amp_dtype=amp_dtype(config.amp, device),
            device=device,
            checkpoint_every=config.checkpoint_every,
            evaluate=None if evaluate is None else lambda _: evaluate(),
            evaluate_every=config.eval_every,
            best_metric=best_metric,
            desc=desc,
            parts=config.accumulate,
            ema=config.ema,
        )


def long_schedule(config: DetectConfig | E2EConfig, *, images: int) -> str:
    """A sentence for who trains much longer than `maskx init` would say; else nothing.

    Args:
        images: How many images with boxes it is for.
    """
    passes = config.iterations * config.images_per_batch / images
    usual = default_passes(images)
    if passes < _MUCH * usual:
        return ""
    return (
        f"The schedule in [{config.table}] goes {passes:.0f} times through {images} images; `maskx init` would write "
        f"one of {usual:.0f} times. Smaller `iterations` and `steps` shorten it."
    )
