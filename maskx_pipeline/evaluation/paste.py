"""From the mask of an RoI to a mask of the image, run-length encoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

_PADDING = 1
_NOTHING = np.zeros((0, 1), dtype=np.bool_)


def paste_to_rle(
    mask_probs: Tensor, boxes_xyxy: Tensor, height: int, width: int, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Resize each mask to its box, binarise it and encode it.

    The RLE is bit for bit what pycocotools makes of :func:`paste`, but only the pixels of the box are ever looked at.

    Args:
        mask_probs (FloatTensor[N, M, M]): probability of the object at each cell of its box, 0..1.
        boxes_xyxy (FloatTensor[N, 4]): boxes in pixels of the image; may reach outside of it.
        threshold: A pixel above it belongs to the object.

    Returns:
        One RLE per mask, as COCO writes it in JSON: ``{"size": [height, width], "counts": str}``.
    """
    return [
        encode_crop(crop, top, left, height, width)
        for top, left, crop in _crops(mask_probs, boxes_xyxy, height, width, threshold)
    ]


def paste(mask_probs: Tensor, boxes_xyxy: Tensor, height: int, width: int, threshold: float = 0.5) -> NDArray[np.uint8]:
    """Resize each mask to its box and binarise it, as Detectron and torchvision do.

    The mask gets a border of one empty cell, its box grows by as much, box corners are cut to whole pixels, and the
    mask is interpolated bilinearly. Unlike torchvision's function it touches only the pixels of the box.

    Returns:
        uint8[N, height, width], 1 inside the object. Arguments are those of :func:`paste_to_rle`.
    """
    canvas = np.zeros((len(mask_probs), height, width), dtype=np.uint8)
    for bitmap, (top, left, crop) in zip(canvas, _crops(mask_probs, boxes_xyxy, height, width, threshold), strict=True):
        bitmap[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return canvas


def _crops(
    mask_probs: Tensor, boxes_xyxy: Tensor, height: int, width: int, threshold: float
) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """The part of each mask that lies in the image: its top row, its left column, and bool[rows, columns]."""
    padded = F.pad(mask_probs.detach().float().cpu(), (_PADDING,) * 4)
    grown = _grow(boxes_xyxy.detach().float().cpu(), scale=padded.shape[-1] / max(1, mask_probs.shape[-1]))
    for mask, (left, top, right, bottom) in zip(padded, grown.to(torch.int64).tolist(), strict=True):
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(right + 1, width), min(bottom + 1, height)
        if x2 <= x1 or y2 <= y1:
            yield 0, 0, _NOTHING
            continue
        # Interpolated whole, because a part of it alone would be rounded differently.
        size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
        resized = F.interpolate(mask[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        inside = resized[y1 - top : y2 - top, x1 - left : x2 - left] > threshold
        yield y1, x1, inside.numpy()


def encode_crop(crop: NDArray[np.bool_], top: int, left: int, height: int, width: int) -> dict[str, Any]:
    """Encode a mask that is empty outside of ``crop``; COCO counts runs down each column."""
    rows, columns = crop.shape
    framed = np.zeros((rows + 2, columns), dtype=np.bool_)
    framed[1:-1] = crop
    y, x = np.divmod(np.flatnonzero(framed[1:] != framed[:-1]), columns)
    edges = np.sort((left + x) * height + top + y)
    if rows == height and len(edges):
        # A run that goes on from the foot of a column to the head of the next has no edge there, but was given two.
        twice = np.concatenate(([False], edges[1:] == edges[:-1], [False]))
        edges = edges[~(twice[1:] | twice[:-1])]
    if not len(edges) or edges[-1] != height * width:
        edges = np.append(edges, height * width)
    counts = np.diff(edges, prepend=0)
    rle: dict[str, Any] = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    rle["counts"] = rle["counts"].decode("ascii")
    return rle


def _grow(boxes_xyxy: Tensor, scale: float) -> Tensor:
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * 0.5 * scale
    centre = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * 0.5
    return torch.cat([centre - half, centre + half], dim=1)
