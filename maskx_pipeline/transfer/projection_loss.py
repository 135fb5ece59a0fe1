"""The projection loss: what a tight box says of the mask in it (BoxInst, Tian et al., CVPR 2021, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def box_profiles(object_boxes_xyxy: Tensor, roi_boxes_xyxy: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which columns and rows of an RoI's grid the object's box covers: those whose centres lie in it, one at least.

    Args:
        object_boxes_xyxy (FloatTensor[N, 4]): The object's box, in pixels.
        roi_boxes_xyxy (FloatTensor[N, 4]): The RoI's box in the same image, in pixels.
        size: M, the side of the grid.

    Returns:
        FloatTensor[N, M] of columns and of rows, each 0 or 1. None is 1 where box and RoI do not meet.
    """
    objects, rois = object_boxes_xyxy.float(), roi_boxes_xyxy.float()
    return _profile(objects[:, 0::2], rois[:, 0::2], size), _profile(objects[:, 1::2], rois[:, 1::2], size)


def projection_loss(mask_logits: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """A mask touches all four sides of its box and leaves no row or column of it empty, and none beyond it filled.

    The largest probability of each column, and of each row, is compared with the box by a squared Dice loss. A proposal
    that is larger than its object so teaches what lies outside of it, too.

    Args:
        mask_logits (FloatTensor[N, M, M]): For the label of each RoI; computed in float32 whatever the dtype.
        columns (FloatTensor[N, M]): From :func:`box_profiles`.
        rows (FloatTensor[N, M]): The same.

    Returns:
        FloatTensor[]: The mean over RoIs, 0..2; 0, still connected to the logits, where N is 0.
    """
    logits = mask_logits.float()
    if logits.numel() == 0:
        return logits.sum()
    # The largest probability is that of the largest logit: the sigmoid is taken of 2 M numbers and not of M * M.
    loss: Tensor = _dice(logits.amax(dim=1).sigmoid(), columns) + _dice(logits.amax(dim=2).sigmoid(), rows)
    return loss.mean()


def _profile(object_ends: Tensor, roi_ends: Tensor, size: int) -> Tensor:
    """Of one axis, from the two ends of each box, FloatTensor[N, 2]."""
    side = (roi_ends[:, 1] - roi_ends[:, 0]).clamp(min=1)  # a pixel at least, as for targets
    # The ends of the object's box in cells of the grid; a cell's centre lies at its number plus a half.
    low, high = ((object_ends - roi_ends[:, :1]) * (size / side).unsqueeze(1)).unbind(1)
    centres = torch.arange(size, device=low.device) + 0.5
    covered = (centres >= low.unsqueeze(1)) & (centres < high.unsqueeze(1))
    # A box thinner than a cell may lie between two centres: then the cell in which its own centre lies is taken.
    middle = ((low + high) / 2).floor()
    thin = ~covered.any(dim=1) & (middle >= 0) & (middle < size)
    covered |= thin.unsqueeze(1) & (centres.floor() == middle.unsqueeze(1))
    return covered.float()


def _dice(found: Tensor, wanted: Tensor) -> Tensor:
    """1 - 2 <f, w> / (<f, f> + <w, w>) of each row, FloatTensor[N, M] to [N]."""
    both = (found * wanted).sum(dim=1)
    return 1 - 2 * both / (found.square().sum(dim=1) + wanted.square().sum(dim=1)).clamp(min=1e-6)
