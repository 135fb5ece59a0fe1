"""Mask heads: RoI features to mask features, the same for every category; a file for each."""

from __future__ import annotations

import pkgutil
from typing import Protocol

from torch import Tensor

from maskx_pipeline.config.transfer import MASK_HEADS


class MaskHead(Protocol):
    """A module that computes mask features; a new one is a file here and a line of ``MASK_HEADS``.

    Attributes:
        in_channels: C of the RoI features.
        out_channels: C' of the mask features.
    """

    in_channels: int
    out_channels: int

    def __init__(self, *, in_channels: int, width: int, depth: int) -> None: ...

    @staticmethod
    def mask_size(roi_size: int) -> int:
        """Side M of the mask features of RoI features of side S; asked before there is a head."""

    def __call__(self, roi_features: Tensor, /) -> Tensor:
        """FloatTensor[N, C, S, S] to [N, C', M, M]."""


def mask_head_class(name: str) -> type[MaskHead]:
    """The head that the setting ``mask_head`` names."""
    found: type[MaskHead] = pkgutil.resolve_name(MASK_HEADS[name])
    return found
