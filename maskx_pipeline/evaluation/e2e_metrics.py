"""What is measured while an e2e model is trained: box and mask AP from the images of val."""

from __future__ import annotations

from collections.abc import Collection

import torch

from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.engine import distributed
from maskx_pipeline.evaluation.coco_ap import precision_table
from maskx_pipeline.evaluation.detector_ap import left_as_it_was
from maskx_pipeline.evaluation.predictions import predictions_from_images


def e2e_metrics(
    model: E2EModel,
    val: CocoData,
    *,
    seen: Collection[int],
    device: torch.device,
    amp_dtype: torch.dtype | None,
) -> dict[str, float]:
    """Measure an e2e model; its modes and gradients are left as they were.

    Several processes share the images, and all get the figures.

    Only the ``seen_`` figure may choose between models: those of unseen categories come from masks that training must
    not know of.

    Returns:
        ``box_ap`` over all categories, ``seen_mask_ap`` and ``unseen_mask_ap``, in percent; nan where val has none.
    """
    everything = frozenset(category.label for category in val.categories)
    with left_as_it_was(model):
        results = predictions_from_images(model.whole_model(device=device, amp_dtype=amp_dtype), val)

    def measured() -> dict[str, float]:
        boxes = precision_table(val, results, labels=everything, iou_type="bbox")
        masks = precision_table(val, results, labels=everything, iou_type="segm")
        return {
            "box_ap": boxes.summary(everything).ap,
            "seen_mask_ap": masks.summary(frozenset(seen)).ap,
            "unseen_mask_ap": masks.summary(everything - frozenset(seen)).ap,
        }

    return distributed.on_main(measured)
