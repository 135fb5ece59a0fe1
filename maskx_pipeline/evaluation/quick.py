"""What is measured while a mask model is fitted: in seconds, from the cache alone."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.engine import distributed
from maskx_pipeline.evaluation.coco_ap import precision_table
from maskx_pipeline.evaluation.predictions import predictions_from_cache
from maskx_pipeline.transfer.mask_iou import mask_iou
from maskx_pipeline.transfer.mask_model import MaskModel

_MOST_DETECTIONS = {"cuda": 20_000}
_MOST_DETECTIONS_CPU = 2_000


def most_detections(device: torch.device) -> int:
    """Of how many detections, and of how many objects, :func:`quick_metrics` looks at the masks there."""
    return _MOST_DETECTIONS.get(device.type, _MOST_DETECTIONS_CPU)


def quick_metrics(
    mask_model: MaskModel,
    cache: RoICache,
    val: CocoData,
    *,
    seen: Collection[int],
    among: Collection[int] | None = None,
    amp_dtype: torch.dtype | None = None,
    max_detections: int | None = None,
) -> dict[str, float]:
    """Mask AP and mask IoU on seen and unseen categories, on a fixed random part of val.

    Several processes share the images, and all get the figures.

    Only the ``seen_`` figures may choose between models: those of unseen categories come from masks that training
    must not know of.

    Args:
        mask_model: On the device where it is to run; its mode is left as it was.
        among: The masks of no other categories are read; those of all of them if not given.
        max_detections: Images are taken until they hold so many; 2,000 on a CPU and 20,000 on a GPU if not given. As
            many objects are measured for the mask IoU.

    Returns:
        ``seen_mask_ap``, ``unseen_mask_ap``, ``seen_mask_iou`` and ``unseen_mask_iou``, all in percent; nan where
        val has no such masks.
    """
    device = next(mask_model.parameters()).device
    most = max_detections or most_detections(device)
    everything = frozenset(category.label for category in val.categories) if among is None else frozenset(among)
    groups = {"seen": frozenset(seen), "unseen": everything - frozenset(seen)}
    image_ids = some_images(val, cache, most)
    was_training = mask_model.training
    try:
        results = predictions_from_cache(
            cache, mask_model, val, device=device, amp_dtype=amp_dtype, image_ids=image_ids
        )

        def measured() -> dict[str, float]:
            table = precision_table(val, results, labels=everything, iou_type="segm", image_ids=image_ids)
            return {f"{name}_mask_ap": table.summary(labels).ap for name, labels in groups.items()}

        metrics = distributed.on_main(measured)
        for name, labels in groups.items():
            metrics[f"{name}_mask_iou"] = 100 * mask_iou(
                mask_model, cache, labels=labels, device=device, amp_dtype=amp_dtype, max_rois=max(1, most // 2)
            )
    finally:
        mask_model.train(was_training)
    return metrics


def some_images(val: CocoData, cache: RoICache, max_detections: int) -> frozenset[int]:
    """Images of val in a fixed random order, until their cached detections would be more than ``max_detections``.

    AP on whole images is AP; AP from only the best detections of all images would be something else.
    """
    ids, counts = np.unique(cache.detections.image_ids, return_counts=True)
    count_of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    order = np.random.RandomState(0).permutation(len(val.images))
    shuffled = [val.images[index].id for index in order]
    total = np.cumsum([count_of.get(image_id, 0) for image_id in shuffled])
    kept = int(np.searchsorted(total, max_detections, side="right"))
    return frozenset(shuffled[: max(kept, 1)])
