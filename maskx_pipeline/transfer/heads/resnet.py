"""Residual mask heads (Deep-MARC: Birodkar et al., ICCV 2021): blocks at the size of the RoI, then doubled."""

from __future__ import annotations

from torch import Tensor, nn

from maskx_pipeline.transfer.heads.blocks import ConvNorm, Doubling, residual_blocks


class ResNetMaskHead(nn.Module):
    """A 3x3 convolution, residual blocks, and a deconvolution that doubles the side.

    Args:
        in_channels: C of the RoI features.
        width: Channels; Deep-MARC has 128.
        depth: Not read: the blocks of each are counted in its name.
        norm: ``group`` or ``batch``.
        blocks: Blocks of that width.
        wider: Blocks after them, half as wide again.
    """

    def __init__(
        self, *, in_channels: int, width: int, depth: int = 0, norm: str = "group", blocks: int, wider: int = 0
    ) -> None:
        super().__init__()
        out_channels = width * 3 // 2 if wider else width
        body = residual_blocks(blocks, width, width, norm=norm)
        stages = [ConvNorm(in_channels, width, norm=norm), nn.ReLU(), body]
        if wider:
            stages.append(residual_blocks(wider, width, out_channels, norm=norm))
        self.body = nn.Sequential(*stages)
        self.doubling = Doubling(out_channels, norm=norm)
        self.in_channels, self.out_channels = in_channels, out_channels

    @staticmethod
    def mask_size(roi_size: int) -> int:
        """M = 2S."""
        return 2 * roi_size

    def forward(self, roi_features: Tensor) -> Tensor:
        """FloatTensor[N, C, S, S] of RoI features to FloatTensor[N, C', 2S, 2S] of mask features, not negative."""
        features: Tensor = self.doubling(self.body(roi_features))
        return features
