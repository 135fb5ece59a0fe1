"""Stage 2: fit the transfer function and the mask head to the masks of the seen categories."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import torch
from torch import Tensor

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import SAW_MASKS
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.config.detection import ASSIGNED
from maskx_pipeline.data.records import categories_to_json
from maskx_pipeline.detection.identity import refuse_mask_weights
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, deterministic, resolve_device
from maskx_pipeline.engine.loop import run_loop, seed_step
from maskx_pipeline.engine.runlog import Run
from maskx_pipeline.engine.schedule import schedule_of
from maskx_pipeline.errors import CacheError, ConfigError
from maskx_pipeline.settings import in_module
from maskx_pipeline.transfer.box_losses import BoxLosses
from maskx_pipeline.transfer.construction import check_mask_model, new_mask_model
from maskx_pipeline.transfer.feature_place import check_gpu
from maskx_pipeline.transfer.heads import mask_head_class
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.roi_batches import Drawing, RoIBatches, box_rois, check_colours, mask_rois, mask_rows

logger = logging.getLogger("maskx")


def fit_transfer(
    config: TransferConfig,
    cache: RoICache,
    *,
    seen: frozenset[int],
    run: Run,
    evaluate: Callable[[MaskModel], dict[str, float]],
) -> None:
    """Train T and the mask head from the RoI cache (section 3.2, stage-wise).

    Of the masks only those of seen categories are read, and the best weights are chosen by what is measured on seen
    categories, so no mask of an unseen one reaches the result. With a box loss, the boxes of all other objects do.
    Several processes share each batch, and gradients are those of one process.

    Args:
        seen: Labels of the categories whose masks may be used.
        evaluate: Measures the model, with ``seen_mask_ap`` among the metrics.

    Raises:
        CacheError: The cache has no RoIs of a seen category, or its mask size does not suit the mask head.
        ConfigError: The settings leave nothing to train.
        MachineError: The features cannot be kept where `cache_in` says.
        RunError: The loss is not finite.
    """
    _check_sizes(config, cache)
    device = resolve_device(config.device)
    dtype = amp_dtype(config.amp, device)
    losses_of_boxes = BoxLosses.named(config.box_loss)
    with contextlib.ExitStack() as stack:
        stack.enter_context(deterministic(config.deterministic, device))
        place = Drawing(
            rois=config.rois,
            seed=config.seed,
            device=device,
            cache_in=config.cache_in,
            streams=2 if losses_of_boxes else 1,
        )
        masks = stack.enter_context(mask_rois(cache, seen, place, rois_per_batch=config.rois_per_batch))
        boxes = None
        if losses_of_boxes:
            size = config.box_rois_per_batch or config.rois_per_batch
            boxes = box_rois(cache, seen, place, rois_per_batch=size, colours=losses_of_boxes.need_colours)
            if boxes is None:
                logger.info("Every RoI of the cache has a mask that may be used, so there is no box loss.")
            else:
                stack.enter_context(boxes)
        iterations = _iterations(config, len(masks))
        seed_step(config.seed, -1)
        model = new_mask_model(
            config,
            class_weights=cache.class_weights,
            category_names=[category.name for category in cache.categories],
            in_channels=cache.channels,
            roi_size=cache.roi_size,
            seen=seen,
        ).to(device)
        distributed.as_main_has_it(model)
        run.update(**_content(config, cache, seen, run, rois=len(masks), iterations=iterations))
        if config.class_specific and len(seen) < cache.num_classes:
            logger.warning(
                "Class-specific weights of the %d unseen categories stay random.", cache.num_classes - len(seen)
            )
        logger.info("Fitting to %d RoIs of %d seen categories, %d steps.", len(masks), len(seen), iterations)
        if boxes is not None:
            logger.info("The boxes of %d RoIs without a mask that may be used are learned from too.", len(boxes))
        schedule = schedule_of(
            config,
            iterations=iterations,
            warmup_iterations=min(config.warmup_iterations, iterations // 10),
            drops=tuple(round(fraction * iterations) for fraction in config.lr_drops),
        )

        def loss_at(step: int) -> dict[str, Tensor]:
            roi_features, labels, targets = masks.batch(step)
            with _draws_of(masks):
                losses = {"mask_loss": masks.share * mask_loss(model(roi_features, labels), targets)}
            if boxes is not None:
                losses |= {f"{name}_loss": loss for name, loss in box_losses_at(boxes, step).items()}
            return losses

        def box_losses_at(batches: RoIBatches, step: int) -> dict[str, Tensor]:
            weight = config.box_loss_weight * schedule.ramp_at(step)
            if weight == 0:
                return losses_of_boxes.zeros(device)
            roi_features, labels, object_boxes, roi_boxes, *colours = batches.batch(step)
            with _draws_of(batches):
                logits = model(roi_features, labels)
            return losses_of_boxes(logits, object_boxes, roi_boxes, *colours, weight=weight, share=batches.share)

        metrics = run_loop(
            module=model,
            schedule=schedule,
            loss_at=loss_at,
            run=run,
            seed=config.seed,
            amp_dtype=dtype,
            device=device,
            checkpoint_every=config.checkpoint_every,
            evaluate=lambda step: evaluate(model),
            evaluate_every=_evaluate_every(config, len(masks)),
            best_metric="seen_mask_ap",
            desc="fit-transfer",
            in_parts=True,
        )
    run.finish(**metrics)


@contextlib.contextmanager
def _draws_of(batches: RoIBatches) -> Iterator[None]:
    """What the model draws in the block, a number for each RoI, is what one process would draw for these RoIs."""
    if batches.share < 1:
        torch.rand(batches.part.start)
    yield
    if batches.share < 1:
        torch.rand(batches.size - batches.part.stop)


def _iterations(config: TransferConfig, rois: int) -> int:
    iterations = config.steps(rois)
    if iterations < 1:
        raise ConfigError(f"{config.epochs:g} epochs leave nothing to train.", "give more with --epochs")
    return iterations


def _evaluate_every(config: TransferConfig, rois: int) -> int:
    return max(1, round(config.eval_every * rois / config.rois_per_batch)) if config.eval_every > 0 else 0


def fit_iterations(config: TransferConfig, cache: RoICache, *, seen: Collection[int]) -> int:
    """How many steps a fit to these categories has; raises as :func:`check_fit`."""
    return _iterations(config, len(mask_rows(cache, seen, config.rois)))


def check_fit(config: TransferConfig, cache: RoICache, *, seen: Collection[int]) -> None:
    """Find what would stop a fit, so that it is known before a run folder is made.

    Raises:
        CacheError: The cache has no RoIs of a seen category, or its mask size does not suit the mask head.
        ConfigError: The settings contradict each other or leave nothing to train, or there is no class embedding.
        MachineError: The features are to be kept on a GPU, and there is none.
        WeightsError: Only some categories are seen, but the detector's first weights were trained with masks.
    """
    _check_sizes(config, cache)
    if config.head_norm == "batch" and distributed.world_size() > 1:
        raise ConfigError(
            "--head-norm batch takes means over a batch, of which each process has a part only.",
            "give --head-norm group, or start one process",
        )
    if cache.identity.export.get(SAW_MASKS) and len(seen) < cache.num_classes and not config.allow_mask_weights:
        refuse_mask_weights(f"The detector of {cache.path}")
    if config.cache_in == "gpu":
        check_gpu(resolve_device(config.device))
    fit_iterations(config, cache, seen=seen)
    if BoxLosses.named(config.box_loss).need_colours:
        check_colours(cache)
    check_mask_model(
        config,
        class_weights=cache.class_weights,
        category_names=[category.name for category in cache.categories],
        in_channels=cache.channels,
        roi_size=cache.roi_size,
        seen=seen,
    )


def _check_sizes(config: TransferConfig, cache: RoICache) -> None:
    wanted = mask_head_class(config.mask_head).mask_size(cache.roi_size)
    if cache.mask_size != wanted:
        raise CacheError(
            f"{cache.path} has RoI features of side {cache.roi_size} and mask targets of side {cache.mask_size}; the "
            f"mask head {config.mask_head} makes masks of side {wanted} of them.",
            f"export again with --mask-size {wanted}",
        )


def _content(
    config: TransferConfig, cache: RoICache, seen: frozenset[int], run: Run, *, rois: int, iterations: int
) -> dict[str, object]:
    """What run.json says of the model beside its settings; paths are relative to the run folder."""
    return {
        "cache": _relative(cache.path, run.folder),
        "detector": _place(config.detector, run.folder),
        "detector_amp": str(cache.identity.export.get("amp", "off")),
        "detector_pool": str(cache.identity.export.get("pool", ASSIGNED)),
        "detector_sha256": cache.identity.detector_sha256,
        "categories": categories_to_json(cache.categories),
        "seen": [category.id for category in cache.categories if category.label in seen],
        "channels": cache.channels,
        "roi_size": cache.roi_size,
        "mask_size": cache.mask_size,
        "rois": rois,
        "iterations": iterations,
    }


def record_detector(run: Run, detector: Path) -> None:
    """Note where the cached detector is, which may have moved since the model was fitted."""
    if run.content.get("detector") != (path := _place(detector, run.folder)):
        run.update(detector=path)


def _place(detector: Path, folder: Path) -> str:
    return str(detector) if in_module(detector) else _relative(detector, folder)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
