"""Box AP of a detector that is still in training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.data.coco import CocoData, ImageRecord
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import each_of
from maskx_pipeline.evaluation.coco_ap import Result, average_precision
from maskx_pipeline.evaluation.predictions import box_results_of, read_scaled


def box_ap(
    detector: FasterRCNN, val: CocoData, *, device: torch.device, amp_dtype: torch.dtype | None
) -> dict[str, float]:
    """Measure a detector that is still in training; its modes and gradients are left as they were.

    Several processes share the images, and all get the figures.

    Returns:
        ``box_ap`` and ``box_ap50`` over all categories, in percent.
    """
    with left_as_it_was(detector):
        frozen = FrozenDetector(detector, device=device, amp_dtype=amp_dtype)

        def detect(image: ImageRecord) -> list[Result]:
            return box_results_of(frozen.extract(read_scaled(val, image)).detections, image, val.categories)

        results = [result for part in each_of(val.images, detect, desc="measure box AP") for result in part]

    def measured() -> dict[str, float]:
        labels = [category.label for category in val.categories]
        summary = average_precision(val, results, labels=labels, iou_type="bbox")
        return {"box_ap": summary.ap, "box_ap50": summary.ap50}

    return distributed.on_main(measured)


@contextlib.contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Give a model back its modes and gradients after a measurement."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in gradients:
            parameter.requires_grad_(wanted)
