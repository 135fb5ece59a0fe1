"""Mask heads: RoI features to mask features, the same for every category; a file for each."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from maskx_pipeline.config.transfer import MASK_HEADS


class MaskHead(Protocol):
    """A module that computes mask features; a new one is a file here and a line of ``MASK_HEADS``.

    Attributes:
        in_channels: C of the RoI features.
        out_channels: C' of the mask features.
        mask_size: Side M of the mask features of RoI features of side S; a static method, asked before there is a head.
    """

    in_channels: int
    out_channels: int
    mask_size: Callable[[int], int]

    def __init__(self, *, in_channels: int, width: int, depth: int, norm: str, **sizes: Any) -> None: ...

    def __call__(self, roi_features: Tensor, /) -> Tensor:
        """FloatTensor[N, C, S, S] to [N, C', M, M]."""


def mask_head_class(name: str) -> type[MaskHead]:
    """The head that the setting ``mask_head`` names."""
    found: type[MaskHead] = pkgutil.resolve_name(MASK_HEADS[name][0])
    return found


def mask_head(name: str, **arguments: Any) -> MaskHead:
    """The untrained head of that name, of the sizes that its name stands for; arguments as in :class:`MaskHead`."""
    return mask_head_class(name)(**arguments, **MASK_HEADS[name][1])
