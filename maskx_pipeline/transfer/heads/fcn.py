"""Mask R-CNN's mask head: convolutions, then a deconvolution that doubles the side."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FCNMaskHead(nn.Module):
    """Mask R-CNN's FCN head: ``depth`` 3x3 convolutions, then a 2x2 deconvolution of stride 2, each with ReLU.

    Weights start as N(0, 2 / fan_out), biases at 0, no normalisation layers (the authors' MSRAFill).

    Args:
        in_channels: C of the RoI features.
        depth: Convolutions before the deconvolution.
        norm: Not read: there is none.
    """

    def __init__(self, *, in_channels: int, width: int = 256, depth: int = 4, norm: str = "none") -> None:
        super().__init__()
        channels = [in_channels] + [width] * depth
        self.convs = nn.ModuleList(nn.Conv2d(channels[i], width, kernel_size=3, padding=1) for i in range(depth))
        self.deconv = nn.ConvTranspose2d(channels[-1], width, kernel_size=2, stride=2)
        self.in_channels, self.out_channels = in_channels, width
        for layer in (*self.convs, self.deconv):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    @staticmethod
    def mask_size(roi_size: int) -> int:
        """M = 2S."""
        return 2 * roi_size

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
        return upsample(self.deconv, features)


def upsample(deconv: nn.ConvTranspose2d, features: Tensor, *, relu: bool = True) -> Tensor:
    """The 2x2 deconvolution of stride 2, with ReLU if asked for; in training on a CPU as a matrix product.

    No two of its kernel's cells meet in an output cell, so the product gives the same numbers, and its gradient takes a
    third of the time that PyTorch's for deconvolutions takes there.

    Args:
        deconv: Kernel and stride 2.
        features (FloatTensor[N, C, S, S]): In channels-last memory, as is the result.
        relu: Whether ReLU follows.

    Returns:
        FloatTensor[N, C', 2S, 2S].
    """
    if features.device.type != "cpu" or not torch.is_grad_enabled():
        larger: Tensor = deconv(features)
        return F.relu(larger, inplace=True) if relu else larger
    count, channels, height, width = features.shape
    kernels = deconv.weight.permute(2, 3, 1, 0).reshape(-1, channels)  # of the four output cells, one below the other
    bias = None if deconv.bias is None else deconv.bias.repeat(4)
    # Of two dimensions: else this is a view, and the gradient of ReLU in place of a view copies the whole of it.
    cells = F.linear(features.permute(0, 2, 3, 1).reshape(-1, channels), kernels, bias)
    # ReLU before the cells are moved to their places: after it, its gradient would go through a view of them.
    cells = F.relu(cells, inplace=True) if relu else cells
    cells = cells.view(count, height, width, 2, 2, deconv.out_channels).transpose(2, 3)
    return cells.reshape(count, 2 * height, 2 * width, deconv.out_channels).permute(0, 3, 1, 2)
