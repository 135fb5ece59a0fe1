"""The pairwise loss: neighbours of like colour have like labels (BoxInst, Tian et al., CVPR 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_DILATION = 2  # cells between neighbours, as in BoxInst's code
_LIKE = 0.3  # the least similarity, 0..1, of two colours whose labels are to be alike
_COLOUR_SCALE = 2.0  # theta: similarity is exp(-distance / theta), as in BoxInst's code

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.950456, 1.0, 1.088754)  # D65


def pairwise_loss(
    mask_logits: Tensor,
    colours: Tensor,
    columns: Tensor,
    rows: Tensor,
    *,
    of_batch: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean negative log of the probability that two neighbours of like colour have the same label.

    Args:
        mask_logits (FloatTensor[N, M, M]): For the label of each RoI; computed in float32 whatever the dtype.
        colours (uint8 [N, M, M, 3]): RGB of the image at each cell of the RoI.
        columns (FloatTensor[N, M]): The columns that the object's box covers, 0 or 1.
        rows (FloatTensor[N, M]): The same of rows.
        of_batch: Where these RoIs are a part of a batch: from a number of pairs in the part to that in the batch. The
            loss is then the part's share of the batch's mean.

    Returns:
        FloatTensor[]: The mean over pairs of like colour of which one lies in the box; 0, still connected to the
        logits, where there is none.
    """
    logits = mask_logits.float()
    if logits.numel() == 0:
        return logits.sum()
    inside = rows.unsqueeze(2) * columns.unsqueeze(1)
    lab = rgb_to_lab(colours).permute(0, 3, 1, 2)
    total, pairs = logits.new_zeros(()), logits.new_zeros(())
    for dy, dx in ((0, _DILATION), (_DILATION, 0), (_DILATION, _DILATION), (_DILATION, -_DILATION)):
        distance = (_first(lab, dy, dx) - _second(lab, dy, dx)).square().sum(dim=1).sqrt()
        weight = (torch.exp(-distance / _COLOUR_SCALE) >= _LIKE).float()
        weight *= torch.maximum(_first(inside, dy, dx), _second(inside, dy, dx))
        total = total + (weight * _differ(_first(logits, dy, dx), _second(logits, dy, dx))).sum()
        pairs = pairs + weight.sum()
    if of_batch is not None:
        pairs = of_batch(pairs)
    return total / pairs.clamp(min=1)


def rgb_to_lab(colours: Tensor) -> Tensor:
    """CIE L*a*b* under D65 of sRGB, uint8 [..., 3] to FloatTensor[..., 3]; L in 0..100."""
    values = colours.float() / 255
    linear = torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = linear @ linear.new_tensor(_TO_XYZ).T / linear.new_tensor(_WHITE)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-9) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def _differ(first: Tensor, second: Tensor) -> Tensor:
    """-log(p q + (1 - p)(1 - q)) of two logits, without leaving the log domain."""
    both = F.logsigmoid(first) + F.logsigmoid(second)
    neither = F.logsigmoid(-first) + F.logsigmoid(-second)
    return -torch.logaddexp(both, neither)


def _first(grid: Tensor, dy: int, dx: int) -> Tensor:
    """The cells [..., y, x] that have a neighbour [..., y + dy, x + dx]."""
    height, width = grid.shape[-2:]
    return grid[..., : height - dy, max(0, -dx) : width - max(0, dx)]


def _second(grid: Tensor, dy: int, dx: int) -> Tensor:
    """Those neighbours."""
    height, width = grid.shape[-2:]
    return grid[..., dy:height, max(0, dx) : width - max(0, -dx)]
