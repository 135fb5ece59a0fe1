"""Which object each anchor belongs to, some objects at a time: memory does not grow with anchors times objects."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

_PAIRS = 1 << 22
"""Of objects and anchors at a time: 16 MB for each matrix of them. Most images are one piece."""


class Pairs(NamedTuple):
    """Boxes whose IoU is not computed yet, xyxy in pixels: FloatTensor[G, 4] of objects, [N, 4] of anchors."""

    objects_xyxy: Tensor
    anchors_xyxy: Tensor


class PiecewiseMatcher(Matcher):  # type: ignore[misc]
    """Torchvision's matcher, with the same result, for pairs of boxes in place of the whole matrix of their IoU."""

    def __call__(self, match_quality_matrix: Tensor | Pairs) -> Tensor:
        """Match each anchor.

        Returns:
            LongTensor[N]: the object, 0..G-1, or a negative value for background and for what is neither.
        """
        if not isinstance(match_quality_matrix, Pairs):
            matched: Tensor = super().__call__(match_quality_matrix)
            return matched
        objects, anchors = match_quality_matrix
        step = max(1, _PAIRS // max(1, len(anchors)))
        if len(objects) <= step or not len(anchors):
            return self(box_iou(objects, anchors))
        best = torch.full((len(anchors),), -1.0, device=anchors.device)
        matches = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
        closest = torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
        for begin in range(0, len(objects), step):
            quality = box_iou(objects[begin : begin + step], anchors)
            values, places = quality.max(dim=0)
            better = values > best
            best = torch.where(better, values, best)
            matches = torch.where(better, places + begin, matches)
            if self.allow_low_quality_matches:
                closest |= (quality == quality.max(dim=1, keepdim=True).values).any(dim=0)
        kept = torch.where(best < self.high_threshold, self.BETWEEN_THRESHOLDS, matches)
        kept = torch.where(best < self.low_threshold, self.BELOW_LOW_THRESHOLD, kept)
        return torch.where(closest, matches, kept)
