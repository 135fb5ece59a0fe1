"""Augmentation of training images: where an image is placed in its frame, and its colours.

A frame has the size of the image, so that a batch takes no more memory than without. What is drawn comes from a
generator that the caller seeds, never from a global one. Masks are not touched: a mask is drawn in the frame of a RoI,
and :meth:`Placement.to_file` says where that RoI lies in the image of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from maskx_pipeline.config.shared import SCALES

_GREY = (124.0, 116.0, 104.0)
"""ImageNet's mean colour, of which the detector makes zeros."""

_BRIGHT, _CONTRAST, _SATURATION = range(3)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image of width W and height H was put in a frame of the same size: x becomes ``scale_x`` x + ``left``.

    Attributes:
        scale_x, scale_y: Of the image; they differ as whole pixels ask for.
        left, top: In pixels of the frame; below 0 where the image is larger than the frame.
    """

    scale_x: float = 1.0
    scale_y: float = 1.0
    left: int = 0
    top: int = 0

    def to_frame(self, boxes_xyxy: Tensor) -> Tensor:
        """Boxes FloatTensor[N, 4] of the image, in pixels of the frame; they may reach outside of it."""
        return boxes_xyxy * self._scales(boxes_xyxy) + self._offsets(boxes_xyxy)

    def to_file(self, boxes_xyxy: Tensor) -> Tensor:
        """The other way round."""
        return (boxes_xyxy - self._offsets(boxes_xyxy)) / self._scales(boxes_xyxy)

    def _scales(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    def _offsets(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.left, self.top, self.left, self.top])


IN_PLACE = Placement()


def draw_placement(augment: str, height: int, width: int, *, random: np.random.Generator) -> Placement:
    """Draw the size of an image and its place: wholly in the frame if it is smaller, covering the frame if larger.

    Args:
        augment: A key of ``SCALES``; the scale is uniform in that range.
        height, width: Of the image and of the frame, in pixels.
    """
    low, high = SCALES[augment]
    if low == high:
        return IN_PLACE
    scale = random.uniform(low, high)
    new_height, new_width = max(1, round(scale * height)), max(1, round(scale * width))
    left, top = (round(random.random() * room) for room in (width - new_width, height - new_height))
    return Placement(new_width / width, new_height / height, left, top)


def place(image: Tensor, boxes_xyxy: Tensor, placement: Placement) -> tuple[Tensor, Tensor, Tensor]:
    """Put an image into its frame, with grey around it where it is smaller.

    Args:
        image (uint8[3, H, W]): RGB.
        boxes_xyxy (FloatTensor[N, 4]): in pixels of the image.

    Returns:
        The frame uint8[3, H, W]; the boxes that have at least a pixel of width and height in it, cut to it,
        FloatTensor[M, 4]; and which of the N they are, LongTensor[M].
    """
    height, width = image.shape[-2:]
    new_height, new_width = round(placement.scale_y * height), round(placement.scale_x * width)
    resized = v2.resize_image(image, [new_height, new_width], antialias=True)
    frame = torch.tensor(_GREY).to(image.dtype)[:, None, None].expand(3, height, width).clone()
    left, top = placement.left, placement.top
    there = resized[:, max(0, -top) : height - top, max(0, -left) : width - left]
    frame[:, max(0, top) : max(0, top) + there.shape[1], max(0, left) : max(0, left) + there.shape[2]] = there
    boxes = placement.to_frame(boxes_xyxy)
    boxes = torch.stack([side.clamp(0, end) for side, end in zip(boxes.unbind(1), (width, height) * 2, strict=True)], 1)
    kept = torch.where((boxes[:, 2:] - boxes[:, :2]).amin(1) >= 1)[0]
    return frame, boxes[kept], kept


def change_colours(image: Tensor, strength: float, *, random: np.random.Generator) -> Tensor:
    """Change brightness, contrast and saturation, in a random order, each by a factor of 1 - strength to 1 + strength.

    Args:
        image (uint8[3, H, W]): RGB.
        strength: 0..1.
    """
    change = {_BRIGHT: v2.adjust_brightness, _CONTRAST: v2.adjust_contrast, _SATURATION: v2.adjust_saturation}
    for which in random.permutation(len(change)).tolist():
        image = change[which](image, float(random.uniform(1 - strength, 1 + strength)))
    return image
