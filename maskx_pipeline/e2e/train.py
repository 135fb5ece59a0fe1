"""Train detector, T and mask head together."""

from __future__ import annotations

from collections.abc import Callable

from maskx_pipeline.config import E2EConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.records import categories_to_json
from maskx_pipeline.detection.image_training import BEFORE_TRAINING, train_on_images
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.e2e.start import Start, build_e2e_model
from maskx_pipeline.engine.device import resolve_device
from maskx_pipeline.engine.loop import seed_step
from maskx_pipeline.engine.runlog import Run

BEST_METRIC = "seen_mask_ap"


def train_e2e_model(
    config: E2EConfig,
    train: CocoData,
    *,
    start: Start,
    seen: frozenset[int],
    masks: SeenMasks,
    run: Run,
    evaluate: Callable[[E2EModel], dict[str, float]],
) -> None:
    """Train, or continue to, and finish the run.

    Args:
        train: The training data, of which this takes images and boxes.
        seen: Labels of the categories whose masks may be used.
        masks: Their masks; no other is looked at.
        run: The open run; it gets best.safetensors, last.safetensors and what describes the model.
        evaluate: Measures the model; its ``seen_mask_ap`` decides which weights are the best.

    Raises:
        ConfigError: The settings do not suit the start.
        DataError: No image has a box, or an image cannot be read.
        RunError: The loss is not finite.
    """
    seed_step(config.seed, BEFORE_TRAINING)
    model = build_e2e_model(config, start, categories=train.categories, seen=seen).to(resolve_device(config.device))
    run.update(
        categories=categories_to_json(train.categories),
        seen=[category.id for category in train.categories if category.label in seen],
        detect=start.detect.to_mapping(),
        transfer=start.transfer.to_mapping(),
    )

    metrics = train_on_images(
        config,
        train,
        module=model,
        losses_of=lambda module, images, targets, ramp: module(
            images, targets, masks, start.transfer.box_loss_weight * ramp
        ),
        run=run,
        evaluate=lambda: evaluate(model),
        best_metric=BEST_METRIC,
        desc="e2e",
    )
    run.finish(**metrics)
