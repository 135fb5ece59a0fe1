"""Mask IoU on the ground-truth boxes of val: masks judged apart from the detector, at the size of the targets."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import autocast
from maskx_pipeline.engine.sharing import shared_out
from maskx_pipeline.transfer.mask_model import MaskModel

_ROIS_PER_BATCH = 128


@torch.no_grad()
def mask_iou(
    model: MaskModel,
    cache: RoICache,
    *,
    labels: Collection[int],
    device: torch.device,
    amp_dtype: torch.dtype | None,
    max_rois: int | None = None,
) -> float:
    """Mean IoU of predicted and true masks over the objects of val, each at M x M in the frame of its own box.

    Several processes share the objects, and all get the mean.

    Args:
        cache: Its val group has the features and targets of the ground-truth boxes.
        max_rois: Measure only so many objects, spread evenly over val; all if None.

    Returns:
        0..1; NaN if no object of these categories has a mask.
    """
    group = cache.ground_truth
    rows = np.flatnonzero(np.isin(group.labels, sorted(labels)) & (group.has_mask != 0))
    if max_rois is not None and len(rows) > max_rois:
        rows = rows[np.arange(max_rois) * len(rows) // max_rois]
    if len(rows) == 0:
        return float("nan")
    was_training = model.training
    model.eval()

    def total_of(part: NDArray[np.int64]) -> float:
        features = torch.from_numpy(cache.read_features("ground_truth", part)).to(device)
        targets = torch.from_numpy(cache.read_targets(part, "ground_truth")).to(device) != 0
        with autocast(device, amp_dtype):
            mask_logits = model(features, torch.from_numpy(group.labels[part]).to(device))
        masks = mask_logits > 0
        intersection = (masks & targets).sum(dim=(1, 2)).double()
        union = (masks | targets).sum(dim=(1, 2)).double()
        # Both empty (an object thinner than a cell) is a perfect mask.
        return float(torch.where(union > 0, intersection / union.clamp(min=1), 1.0).sum())

    parts = [rows[start : start + _ROIS_PER_BATCH] for start in range(0, len(rows), _ROIS_PER_BATCH)]
    total = 0.0
    for of_part in shared_out(parts, lambda some: map(total_of, some)):
        total += of_part
    model.train(was_training)
    return distributed.on_main(lambda: total / len(rows))
