"""How good the masks of categories are whose masks a model has not seen, of each category, from the cache."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor, nn

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.evaluation.box_iou import MODEL
from maskx_pipeline.evaluation.box_masks import masks_from_cache, measure_box_iou
from maskx_pipeline.evaluation.coco_ap import precision_table
from maskx_pipeline.evaluation.predictions import predictions_from_cache
from maskx_pipeline.study.tuning import CategoryFigures
from maskx_pipeline.transfer.mask_model import MaskModel

RIVALS = {"ellipse": "ellipse in the box", "box": "filled box"}
"""Shapes that need no model, by what :func:`rival` calls them."""


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
    ious = measure_box_iou(val, {MODEL: masks})
    iou = {label: ious.mean(MODEL, ious.of_labels(frozenset({label}))).mean for label in labels}
    results = predictions_from_cache(cache, model, val, device=device, amp_dtype=amp_dtype, labels=labels)
    ap = precision_table(val, results, labels=labels, iou_type="segm").summary(labels).per_category
    return {label: CategoryFigures(iou[label], float(ap[label])) for label in sorted(labels)}


def rival(kind: str, mask_size: int) -> MaskModel:
    """The filled box or the ellipse in it, in the place of a mask model."""
    return cast(MaskModel, _Shape(kind, mask_size))


class _Shape(nn.Module):
    """The same mask for every RoI."""

    logits: Tensor

    def __init__(self, kind: str, mask_size: int) -> None:
        super().__init__()
        axis = (torch.arange(mask_size) + 0.5) * (2 / mask_size) - 1
        inside = axis.square().unsqueeze(0) + axis.square().unsqueeze(1) <= 1
        self.register_buffer("logits", torch.where(inside | (kind == "box"), 20.0, -20.0))

    def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        return self.logits.expand(len(labels), -1, -1)
