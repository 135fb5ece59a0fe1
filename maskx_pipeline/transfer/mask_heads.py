"""Mask heads: RoI features to mask features, the same for every category."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FCNMaskHead(nn.Module):
    """Mask R-CNN's FCN head: ``depth`` 3x3 convolutions, then a 2x2 deconvolution of stride 2, each with ReLU.

    Weights start as N(0, 2 / fan_out), biases at 0, no normalisation layers (the authors' MSRAFill).

    Args:
        in_channels: C of the RoI features.
        width: Channels of every layer.
        depth: Convolutions before the deconvolution.
    """

    def __init__(self, *, in_channels: int, width: int = 256, depth: int = 4) -> None:
        super().__init__()
        channels = [in_channels] + [width] * depth
        self.convs = nn.ModuleList(nn.Conv2d(channels[i], width, kernel_size=3, padding=1) for i in range(depth))
        self.deconv = nn.ConvTranspose2d(channels[-1], width, kernel_size=2, stride=2)
        self.out_channels = width
        for layer in (*self.convs, self.deconv):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, roi_features: Tensor) -> Tensor:
        """Compute mask features.

        Args:
            roi_features (FloatTensor[N, C, S, S]): Pooled features; S = 14 in the paper.

        Returns:
            FloatTensor[N, width, 2S, 2S]: Mask features, not negative.
        """
        features = roi_features
        for conv in self.convs:
            features = F.relu(conv(features), inplace=True)
        return F.relu(self.deconv(features), inplace=True)
