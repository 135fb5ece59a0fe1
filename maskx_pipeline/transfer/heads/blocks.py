"""What the deeper mask heads are made of: normalised convolutions, residual blocks, and a doubling of the side."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.heads.fcn import upsample

_GROUP_CHANNELS = 16  # a group of GroupNorm, as in its paper (Wu and He, ECCV 2018)


def norm_layer(name: str, channels: int) -> nn.Module:
    """``group``, which does not depend on the batch, or ``batch``.

    Raises:
        ConfigError: No such normalisation, or channels that do not make whole groups.
    """
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name != "group":
        raise ConfigError(f"`{name}` is not a normalisation of a mask head.", "one of: group, batch")
    size = min(_GROUP_CHANNELS, channels)
    if channels % size:
        raise ConfigError(
            f"{channels} channels are not divided by groups of {size}.",
            f"give a --head-width that is a multiple of {2 * _GROUP_CHANNELS}, or --head-norm batch",
        )
    return nn.GroupNorm(channels // size, channels)


class ConvNorm(nn.Module):
    """A convolution without bias that keeps the side, or halves it rounding up, and its normalisation.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        norm: See :func:`norm_layer`.
        kernel: Side of the kernel, odd.
        stride: 1 or 2.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: str, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = norm_layer(norm, out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """FloatTensor[N, C, S, S] to [N, C', S', S']."""
        normalised: Tensor = self.norm(self.conv(features))
        return normalised


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., CVPR 2016), which is a 1x1 convolution where sizes differ."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: str, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, out_channels, norm=norm, stride=stride)
        self.second = ConvNorm(out_channels, out_channels, norm=norm)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, norm=norm, kernel=1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """FloatTensor[N, C, S, S] to [N, C', S', S'], not negative."""
        return F.relu(self.second(F.relu(self.first(features))) + self.shortcut(features))


def residual_blocks(count: int, in_channels: int, out_channels: int, *, norm: str, stride: int = 1) -> nn.Sequential:
    """Blocks one after the other; the first changes channels and side."""
    blocks = [ResidualBlock(in_channels, out_channels, norm=norm, stride=stride)]
    blocks += [ResidualBlock(out_channels, out_channels, norm=norm) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


class Doubling(nn.Module):
    """A 2x2 deconvolution of stride 2, normalisation and ReLU: FloatTensor[N, C, S, S] to [N, C, 2S, 2S]."""

    def __init__(self, channels: int, *, norm: str) -> None:
        super().__init__()
        self.deconv = nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2, bias=False)
        self.norm = norm_layer(norm, channels)
        nn.init.kaiming_normal_(self.deconv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Double the side."""
        return F.relu(self.norm(upsample(self.deconv, features, relu=False)))
