"""Reading image files of every kind that data sets hold, as RGB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from maskx_pipeline.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_PILLOW_ERRORS = (OSError, ValueError, SyntaxError, TypeError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises on corrupt files, as found by feeding it some."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


def read_image(path: Path | str, *, width: int | None = None, height: int | None = None) -> Tensor:
    """Read an image as :func:`read_pixels` does, as a uint8 tensor [3, H, W]."""
    import torch  # here, so that pictures and headers need none

    return torch.from_numpy(read_pixels(path, width=width, height=height)).permute(2, 0, 1).contiguous()


def read_pixels(path: Path | str, *, width: int | None = None, height: int | None = None) -> NDArray[np.uint8]:
    """Read an image as RGB.

    Grey, palette, CMYK, 16-bit and transparent images are converted (transparency is dropped). The EXIF orientation is
    applied only where the image then has the given size: boxes and masks were drawn on the image as the annotation
    tool showed it, and tools differ.

    Args:
        width: Width that the annotation file gives, in pixels. None for an image without annotations, such as a
            user's photo: then the orientation is applied as a viewer does.
        height: Height that the annotation file gives, in pixels.

    Returns:
        uint8 [H, W, 3], values 0..255.

    Raises:
        DataError: The file is missing or corrupt, or has another size.
    """
    with _errors_named(path), Image.open(path) as opened:
        return np.array(to_rgb(_oriented(opened, path, width=width, height=height)))


def image_fault(path: Path | str, *, width: int, height: int) -> str | None:
    """Say why `read_image` would refuse an image, from its header alone; None if nothing speaks against it."""
    try:
        with _errors_named(path), Image.open(path) as opened:
            _needs_turning(opened, path, width=width, height=height)
    except DataError as error:
        return error.message
    return None


@contextmanager
def _errors_named(path: Path | str) -> Iterator[None]:
    """Turn what Pillow raises into DataErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"the image {path} does not exist.", "check `file_name` and the image folder") from error
    except _PILLOW_ERRORS as error:
        raise DataError(f"the image {path} cannot be read: {error}.", "replace it, or drop it from the data") from error


def _oriented(image: Image.Image, path: Path | str, *, width: int | None, height: int | None) -> Image.Image:
    if width is None or height is None or _needs_turning(image, path, width=width, height=height):
        return ImageOps.exif_transpose(image)
    return image


def _needs_turning(image: Image.Image, path: Path | str, *, width: int, height: int) -> bool:
    if image.size == (width, height):
        return False
    if image.size == (height, width) and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
        return True
    raise DataError(
        f"the image {path} is {image.width}x{image.height} pixels, but the annotation file says {width}x{height}.",
        "the boxes would not fit it: give the image that was annotated, or fix the annotation file",
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB; ValueError where its pixels are no 8-bit or 16-bit values."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bit(np.asarray(image), image)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _eight_bit(values: NDArray[Any], image: Image.Image) -> NDArray[np.uint8]:
    """The upper 8 of 16 bits; Pillow's own conversion would cut everything above 255."""
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels (mode {image.mode}) are no 8-bit or 16-bit values")
    return np.asarray(values // 256, dtype=np.uint8)
