"""Hourglass mask heads (Deep-MARC: Birodkar et al., ICCV 2021): down to coarse sizes and up again, beside shortcuts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.heads.blocks import ConvNorm, Doubling, residual_blocks

_MOST_SIZES_OF_BATCH_NORM = 4  # 14, 7, 4, 2


class HourglassMaskHead(nn.Module):
    """A 3x3 convolution, an hourglass, and a deconvolution that doubles the side.

    Args:
        in_channels: C of the RoI features.
        width: Channels at the size of the RoI; Deep-MARC has 128.
        depth: Not read: the blocks of each are counted in its name.
        norm: ``group`` or ``batch``.
        blocks: Residual blocks at each size, from the RoI's to the smallest; each size is half of the one before.
        widths: Channels at each size, in halves of ``width``.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        width: int,
        depth: int = 0,
        norm: str = "group",
        blocks: Sequence[int],
        widths: Sequence[int],
    ) -> None:
        super().__init__()
        if norm == "batch" and len(blocks) > _MOST_SIZES_OF_BATCH_NORM:
            raise ConfigError(
                f"An hourglass of {len(blocks)} sizes ends in single cells, which --head-norm batch cannot normalise "
                "where a step has one RoI.",
                "give --head-norm group",
            )
        channels = [width * halves // 2 for halves in widths]
        self.stem = ConvNorm(in_channels, channels[0], norm=norm)
        self.hourglass = _Hourglass(blocks, channels, norm=norm)
        self.doubling = Doubling(channels[0], norm=norm)
        self.in_channels, self.out_channels = in_channels, channels[0]

    @staticmethod
    def mask_size(roi_size: int) -> int:
        """M = 2S."""
        return 2 * roi_size

    def forward(self, roi_features: Tensor) -> Tensor:
        """FloatTensor[N, C, S, S] of RoI features to FloatTensor[N, C', 2S, 2S] of mask features, not negative."""
        features: Tensor = self.doubling(self.hourglass(F.relu(self.stem(roi_features))))
        return features


class _Hourglass(nn.Module):
    """Blocks at this size, beside blocks that halve the side, an hourglass of the smaller sizes, and back."""

    def __init__(self, blocks: Sequence[int], channels: Sequence[int], *, norm: str) -> None:
        super().__init__()
        here, below = channels[0], channels[1]
        self.beside = residual_blocks(blocks[0], here, here, norm=norm)
        self.down = residual_blocks(blocks[0], here, below, norm=norm, stride=2)
        self.inner: nn.Module
        if len(blocks) > 2:
            self.inner = _Hourglass(blocks[1:], channels[1:], norm=norm)
        else:
            self.inner = residual_blocks(blocks[1], below, below, norm=norm)
        self.up = residual_blocks(blocks[0], below, here, norm=norm)

    def forward(self, features: Tensor) -> Tensor:
        """FloatTensor[N, C, S, S] to the same shape."""
        inner = self.up(self.inner(self.down(features)))
        sides: Tensor = F.interpolate(inner, size=features.shape[-2:], mode="nearest") + self.beside(features)
        return sides
