"""The place in the RoI as input of a mask head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.transfer.heads import MaskHead

CHANNELS = 4


def roi_coordinates(size: int) -> Tensor:
    """Where each cell of an RoI lies, FloatTensor[4, S, S] in -1..1.

    x and y of the cell's centre, -1 at the left and the top; the distance from the RoI's centre, scaled so that the
    middles of the sides have 0; and the larger of |x| and |y|, likewise.
    """
    axis = (torch.arange(size) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    distance = (x.square() + y.square()).sqrt() / 2**0.5
    return torch.stack([x, y, 2 * distance - 1, 2 * torch.maximum(x.abs(), y.abs()) - 1])


class WithCoordinates(nn.Module):
    """Any mask head, on RoI features to which the four coordinates were added as channels (as in CoordConv).

    Args:
        head: It takes ``in_channels`` + 4 channels.
        in_channels: C of the RoI features.
        roi_size: S of the RoI features.
    """

    coordinates: Tensor

    def __init__(self, head: MaskHead, *, in_channels: int, roi_size: int) -> None:
        super().__init__()
        self.head = head
        self.in_channels, self.out_channels = in_channels, head.out_channels
        self.mask_size = head.mask_size
        self.register_buffer("coordinates", roi_coordinates(roi_size), persistent=False)

    def forward(self, roi_features: Tensor) -> Tensor:
        """FloatTensor[N, C, S, S] of RoI features to FloatTensor[N, C', M, M] of mask features."""
        coordinates = self.coordinates.to(roi_features.dtype).expand(roi_features.shape[0], -1, -1, -1)
        if roi_features.is_contiguous(memory_format=torch.channels_last):
            # As the features lie in memory, for else everything is copied into another layout, and back.
            coordinates = coordinates.contiguous(memory_format=torch.channels_last)
        return self.head(torch.cat([roi_features, coordinates], dim=1))
