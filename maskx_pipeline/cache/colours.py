"""The image in the frame of a RoI, as small as its mask target: what the box losses know of colours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def colour_patches(pixels: NDArray[np.uint8], boxes_xyxy: NDArray[np.floating[Any]], size: int) -> NDArray[np.uint8]:
    """Average an image over the cells of RoIs; the cells are those of :func:`rasterize_roi_target`.

    Args:
        pixels (uint8 [H, W, 3]): The image.
        boxes_xyxy (float [N, 4]): The RoIs in its pixels; their sides count as at least 1 pixel.
        size: Cells per side, M.

    Returns:
        uint8 [N, M, M, 3]: the mean over each cell of the pixels that it covers, also in part; black outside the image.
    """
    patches = np.zeros((len(boxes_xyxy), size, size, 3), dtype=np.uint8)
    height, width = pixels.shape[:2]
    for patch, (x1, y1, x2, y2) in zip(patches, boxes_xyxy.tolist(), strict=True):
        top, of_rows = _shares(y1, y2, size, height)
        left, of_columns = _shares(x1, x2, size, width)
        (rows, columns), part = (of_rows.shape[1], of_columns.shape[1]), pixels[top:, left:]
        part = part[:rows, :columns].astype(np.float32)
        averaged = (of_rows @ part.reshape(rows, columns * 3)).reshape(size, columns, 3)
        patch[...] = np.rint(of_columns @ averaged)
    return patches


def _shares(low: float, high: float, size: int, length: int) -> tuple[int, NDArray[np.float32]]:
    """The first pixel along a side of the image that a RoI touches, and the shares of its cells' pixels in their means.

    Returns:
        float32 [size, n] for the n pixels touched; rows of cells that lie wholly in the image have the sum 1.
    """
    cell = max(high - low, 1.0) / size
    edges = low + cell * np.arange(size + 1)
    first = min(max(math.floor(low), 0), length)
    last = min(max(math.ceil(edges[-1]), first), length)
    starts = np.arange(first, last)
    overlaps = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return first, (np.clip(overlaps, 0, None) / cell).astype(np.float32)
