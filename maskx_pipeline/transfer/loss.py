"""The mask loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def mask_loss(mask_logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over all pixels of all RoIs (the authors' loss; no weight per RoI or class).

    Args:
        mask_logits (FloatTensor[N, M, M]): For the label of each RoI; computed in float32 whatever the dtype.
        targets (uint8 or float [N, M, M]): 0 or 1.

    Returns:
        FloatTensor[]: The loss; 0, still connected to the logits, where N is 0.
    """
    logits = mask_logits.float()
    if logits.numel() == 0:
        return logits.sum()
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
