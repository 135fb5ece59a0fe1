"""Changes of an image together with its boxes. Resizing is left to torchvision's GeneralizedRCNNTransform."""

from __future__ import annotations

import torch
from torch import Tensor


def flip_horizontally(image: Tensor, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror an image and its boxes, left to right.

    Args:
        image (Tensor[C, H, W]): the image, any dtype.
        boxes_xyxy (FloatTensor[N, 4]): boxes in pixels of the image.

    Returns:
        The mirrored image and boxes: x becomes W - x.
    """
    width = image.shape[-1]
    x1, y1, x2, y2 = boxes_xyxy.unbind(dim=1)
    return image.flip(-1), torch.stack((width - x2, y1, width - x1, y2), dim=1)
