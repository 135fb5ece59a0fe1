"""Stage 1: train Faster R-CNN on the boxes of all categories."""

from __future__ import annotations

from collections.abc import Callable

from torchvision.models.detection import FasterRCNN

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.records import categories_to_json
from maskx_pipeline.detection.identity import record_identities
from maskx_pipeline.detection.image_training import BEFORE_TRAINING, train_on_images
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.device import resolve_device
from maskx_pipeline.engine.loop import seed_step
from maskx_pipeline.engine.runlog import Run

BEST_METRIC = "box_ap"


def train_detector(
    config: DetectConfig,
    train: CocoData,
    *,
    run: Run,
    evaluate: Callable[[FasterRCNN], dict[str, float]] | None,
) -> None:
    """Train a detector, or continue to, and finish the run.

    Args:
        train: Its masks are not looked at.
        run: The open run; it gets best.safetensors, last.safetensors, their identities and the categories.
        evaluate: Measures the detector; its ``box_ap`` decides which weights are the best.

    Raises:
        RunError: The loss is not finite.
        DataError: No image has a box, or an image cannot be read.
    """
    run.update(categories=categories_to_json(train.categories))
    seed_step(config.seed, BEFORE_TRAINING)
    detector = build_detector(num_classes=train.num_classes + 1, **detector_arguments(config))
    detector.to(resolve_device(config.device))

    metrics = train_on_images(
        config,
        train,
        module=detector,
        losses_of=lambda module, images, targets, _: module(images, targets),
        run=run,
        evaluate=None if evaluate is None else lambda: evaluate(detector),
        best_metric=BEST_METRIC,
        desc="detect",
    )
    record_identities(run, config, train.categories)
    run.finish(**metrics)
