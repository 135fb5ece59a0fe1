"""How good the masks of categories are whose masks a model has not seen, of each category, from the cache."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.evaluation.box_iou import MODEL
from maskx_pipeline.evaluation.box_masks import (
    Rle,
    masks_from_cache,
    measure_box_iou,
    objects_of,
    shapes_in_boxes,
    shapes_in_detections,
)
from maskx_pipeline.evaluation.coco_ap import Result, precision_table
from maskx_pipeline.evaluation.predictions import predictions_from_cache
from maskx_pipeline.study.tuning import CategoryFigures
from maskx_pipeline.transfer.mask_model import MaskModel


def hidden_figures(
    model: MaskModel,
    cache: RoICache,
    val: CocoData,
    *,
    labels: Collection[int],
    device: torch.device,
    amp_dtype: torch.dtype | None,
) -> dict[int, CategoryFigures]:
    """Mask IoU at the true boxes of val and mask AP of the cached detections, in percent, of each of some categories.

    The masks of no other category are read.
    """
    model.eval().to(device)
    masks = masks_from_cache(cache, model, val, device=device, amp_dtype=amp_dtype, labels=labels)
    results = predictions_from_cache(cache, model, val, device=device, amp_dtype=amp_dtype, labels=labels)
    return _of_categories(masks, results, val, labels)


def shape_figures(shape: str, cache: RoICache, val: CocoData, *, labels: Collection[int]) -> dict[int, CategoryFigures]:
    """The same of one of the shapes in the box that need no model."""
    asked = {one.id for _, objects in objects_of(val) for one in objects if one.label in labels}
    masks = {id_: mask for id_, mask in shapes_in_boxes(val, masked=True)[shape].items() if id_ in asked}
    return _of_categories(masks, shapes_in_detections(shape, cache, val, labels=labels), val, labels)


def _of_categories(
    masks: Mapping[int, Rle], results: Sequence[Result], val: CocoData, labels: Collection[int]
) -> dict[int, CategoryFigures]:
    ious = measure_box_iou(val, {MODEL: masks})
    iou = {label: ious.mean(MODEL, ious.of_labels(frozenset({label}))).mean for label in labels}
    ap = precision_table(val, results, labels=labels, iou_type="segm").summary(labels).per_category
    return {label: CategoryFigures(iou[label], float(ap[label])) for label in sorted(labels)}
