"""Images as Python programs hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from maskx_pipeline.data.images import read_image, to_rgb
from maskx_pipeline.errors import DataError, with_article

_KINDS = (
    "give a file, a PIL image, an RGB array uint8[H, W, 3] or uint8[H, W], or an RGB tensor [3, H, W], uint8 or float "
    "in 0..1"
)


def image_tensor(image: Path | str | Image.Image | NDArray[np.uint8] | Tensor) -> Tensor:
    """Turn an image into what the detector takes.

    Args:
        image: A file, a PIL image, an RGB array uint8[H, W, 3] (or grey [H, W]), or an RGB tensor [3, H, W], uint8 or
            float in 0..1. Files and PIL images are turned as their EXIF orientation says.

    Returns:
        FloatTensor[3, H, W]: RGB in 0..1.

    Raises:
        DataError: The file cannot be read, or the image is of another shape, type or range.
    """
    if isinstance(image, str | Path):
        return read_image(image).float().div_(255)
    if isinstance(image, Image.Image):
        try:
            return _from_array(np.array(to_rgb(ImageOps.exif_transpose(image))))
        except (OSError, ValueError) as error:
            raise DataError(f"the image cannot be read: {error}.", _KINDS) from error
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise DataError(f"an image cannot be made of {with_article(type(image).__name__)}.", _KINDS)


def _from_array(array: NDArray[np.uint8]) -> Tensor:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise DataError(f"an array {array.dtype}{list(array.shape)} is no image.", _KINDS)
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).float().div_(255).contiguous()


def _from_tensor(tensor: Tensor) -> Tensor:
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        raise DataError(f"a tensor {kind}{list(tensor.shape)} is no image.", _KINDS)
    if tensor.dtype == torch.uint8:
        return tensor.float().div(255)
    if not tensor.is_floating_point():
        raise DataError(f"a tensor {kind}{list(tensor.shape)} is no image.", _KINDS)
    low, high = float(tensor.min()), float(tensor.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"the image's values are {low:g} to {high:g}, not 0 to 1.", _KINDS)
    return tensor.detach().float()
