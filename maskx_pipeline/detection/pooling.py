"""RoIAlign over the feature pyramid, fast enough to train on the CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import LevelMapper

from maskx_pipeline.config.detection import ASSIGNED, POOLS

POOLED_LEVELS = {"0": 2, "1": 3, "2": 4, "3": 5}
"""The FPN's feature maps that are pooled from, and their levels: level l has stride 2^l."""

_CANONICAL_LEVEL = 4
_SAMPLES = 2


class PyramidPool(MultiScaleRoIAlign):  # type: ignore[misc]
    """RoIAlign from the FPN level that suits each box's size (Lin et al. 2017, eq. 1), two samples per bin and axis.

    The same numbers as torchvision's module, with two differences. torchvision guesses the strides from the first image
    that it gets, wrongly if that is smaller than about 90 pixels; here they are given. And on the CPU, where the
    gradient of torchvision's RoIAlign takes longer than all the rest of a training step, the pooling is written as a
    weighted sum of feature vectors, for which PyTorch has a fast kernel (4 times as fast, 10 times in the gradient).
    Traced, it is ONNX's RoIAlign, level by level.

    Args:
        roi_size: Side S of the output.
        canonical_box_size: Side of the boxes, in pixels, from which level 4 (stride 16) on is used.
        pooling: ``assigned`` is that level alone. ``finest+assigned`` pools each box from the finest level too; the
            channels of that one come first.
    """

    def __init__(self, *, roi_size: int, canonical_box_size: int, pooling: str = ASSIGNED) -> None:
        super().__init__(list(POOLED_LEVELS), roi_size, _SAMPLES, canonical_scale=canonical_box_size)
        levels = list(POOLED_LEVELS.values())
        self.scales = [2.0**-level for level in levels]
        self.map_levels = LevelMapper(levels[0], levels[-1], canonical_box_size, _CANONICAL_LEVEL)
        self.maps = POOLS[pooling]

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Pool.

        Args:
            features: FPN level to FloatTensor[B, C, H, W]; levels that are not pooled from may be there.
            boxes: FloatTensor[N, 4] per image, xyxy in pixels of the network's input.
            image_shapes: Not used; it is in torchvision's signature.

        Returns:
            FloatTensor[sum of N, C or 2 C, S, S], computed in float32 and returned in the dtype of the features.
        """
        maps = [features[name] for name in self.featmap_names]
        if maps[0].device.type != "cpu" or torchvision._is_tracing():
            if torchvision._is_tracing():
                assigned = self._by_level(maps, boxes)
            else:
                assigned = super().forward(features, boxes, image_shapes)
            if self.maps == 1:
                return assigned
            finest = roi_align(maps[0], boxes, self.output_size, self.scales[0], _SAMPLES)
            return torch.cat([finest, assigned], dim=1)
        levels = self.map_levels(boxes)
        image_numbers = torch.cat([torch.full((len(b),), i) for i, b in enumerate(boxes)])
        channels = maps[0].shape[1]
        vectors = torch.cat([level.float().permute(0, 2, 3, 1).reshape(-1, channels) for level in maps])
        pooled = []
        for from_levels in (levels,) if self.maps == 1 else (torch.zeros_like(levels), levels):
            rows, weights = _weighted_rows(
                maps, self.scales, from_levels, image_numbers, torch.cat(boxes), self.output_size[0]
            )
            bins = F.embedding_bag(rows, vectors, mode="sum", per_sample_weights=weights)
            pooled.append(bins.to(maps[0].dtype).view(-1, *self.output_size, channels).permute(0, 3, 1, 2))
        return pooled[0] if self.maps == 1 else torch.cat(pooled, dim=1)

    def _by_level(self, maps: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Pool the boxes of each level, and put them back in order.

        What torchvision traces instead fills a tensor of all boxes anew for each level, element by element: some
        7 % of the whole model's time in onnxruntime.
        """
        levels = self.map_levels(boxes)
        here = [torch.where(levels == number)[0] for number in range(len(maps))]
        pooled = [
            roi_align(level, [boxes[0][rows]], self.output_size, scale, _SAMPLES)
            for level, scale, rows in zip(maps, self.scales, here, strict=True)
        ]
        return torch.cat(pooled)[torch.cat(here).argsort()]


def _weighted_rows(
    maps: list[Tensor], scales: list[float], levels: Tensor, image_numbers: Tensor, boxes: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Which feature vectors each bin sums up, and with which weights.

    The vectors of all maps are numbered in one row: by map, image, y and x.

    Returns:
        LongTensor[N S S, 16] and FloatTensor[N S S, 16].
    """
    heights = torch.tensor([level.shape[2] for level in maps])[levels]
    widths = torch.tensor([level.shape[3] for level in maps])[levels]
    counts = torch.tensor([level.shape[0] * level.shape[2] * level.shape[3] for level in maps])
    first = (counts.cumsum(0) - counts)[levels] + image_numbers * heights * widths
    scaled = boxes.detach().float() * torch.tensor(scales)[levels][:, None]
    y, y_weights = _weighted_lines(scaled[:, 1], scaled[:, 3], heights, size)
    x, x_weights = _weighted_lines(scaled[:, 0], scaled[:, 2], widths, size)
    rows = first.view(-1, 1, 1, 1, 1) + y[:, :, None, :, None] * widths.view(-1, 1, 1, 1, 1) + x[:, None, :, None, :]
    weights = y_weights[:, :, None, :, None] * x_weights[:, None, :, None, :]
    per_bin = (2 * _SAMPLES) ** 2
    return rows.reshape(-1, per_bin), weights.reshape(-1, per_bin)


def _weighted_lines(low: Tensor, high: Tensor, limit: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Linear interpolation along one axis, as RoIAlign does it (``aligned=False``).

    Args:
        low, high (FloatTensor[N]): the extent of each box in units of its feature map; at least 1 long.
        limit (LongTensor[N]): the length of its feature map.

    Returns:
        LongTensor[N, size, 4] and FloatTensor[N, size, 4]: for each bin the lines that it averages, and the weights.
    """
    length = (high - low).clamp(min=1)
    places = (torch.arange(size * _SAMPLES) + 0.5) / (size * _SAMPLES)
    at = low[:, None] + length[:, None] * places
    limit = limit[:, None]
    inside = (at >= -1) & (at <= limit)
    at = at.clamp(min=0)
    below = torch.minimum(at.floor().long(), limit - 1)
    above = torch.minimum(below + 1, limit - 1)
    fraction = at - below
    weights = torch.stack([1 - fraction, fraction], dim=-1) * inside[..., None] / _SAMPLES
    lines = torch.stack([below, above], dim=-1)
    return lines.view(-1, size, 2 * _SAMPLES), weights.view(-1, size, 2 * _SAMPLES)
