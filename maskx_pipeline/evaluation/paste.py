"""From the mask of an RoI to a mask of the image, run-length encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

_PADDING = 1
_PIXELS_AT_ONCE = 64_000_000


def paste_to_rle(
    mask_probs: Tensor, boxes_xyxy: Tensor, height: int, width: int, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Resize each mask to its box, binarise it and encode it.

    Args:
        mask_probs (FloatTensor[N, M, M]): probability of the object at each cell of its box, 0..1.
        boxes_xyxy (FloatTensor[N, 4]): boxes in pixels of the image; may reach outside of it.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        threshold: A pixel above it belongs to the object.

    Returns:
        One RLE per mask, as COCO writes it in JSON: ``{"size": [height, width], "counts": str}``.
    """
    at_once = max(1, _PIXELS_AT_ONCE // max(1, height * width))
    encoded: list[dict[str, Any]] = []
    for start in range(0, len(mask_probs), at_once):
        chunk = slice(start, start + at_once)
        pasted = paste(mask_probs[chunk], boxes_xyxy[chunk], height, width, threshold)
        encoded += coco_mask.encode(np.asfortranarray(pasted.transpose(1, 2, 0)))
    for rle in encoded:
        rle["counts"] = rle["counts"].decode("ascii")
    return encoded


def paste(mask_probs: Tensor, boxes_xyxy: Tensor, height: int, width: int, threshold: float = 0.5) -> NDArray[np.uint8]:
    """Resize each mask to its box and binarise it, as Detectron and torchvision do.

    The mask gets a border of one empty cell, its box grows by as much, box corners are cut to whole pixels, and the
    mask is interpolated bilinearly. Unlike torchvision's function it touches only the pixels of the box.

    Returns:
        uint8[N, height, width], 1 inside the object. Arguments are those of :func:`paste_to_rle`.
    """
    canvas = np.zeros((len(mask_probs), height, width), dtype=np.uint8)
    padded = F.pad(mask_probs.detach().float().cpu(), (_PADDING,) * 4)
    grown = _grow(boxes_xyxy.detach().float().cpu(), scale=padded.shape[-1] / max(1, mask_probs.shape[-1]))
    for index, (left, top, right, bottom) in enumerate(grown.to(torch.int64).tolist()):
        size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(right + 1, width), min(bottom + 1, height)
        if x2 <= x1 or y2 <= y1:
            continue
        resized = F.interpolate(padded[index, None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        inside = resized[y1 - top : y2 - top, x1 - left : x2 - left] > threshold
        canvas[index, y1:y2, x1:x2] = inside.numpy()
    return canvas


def _grow(boxes_xyxy: Tensor, scale: float) -> Tensor:
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * 0.5 * scale
    centre = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], dim=1)
