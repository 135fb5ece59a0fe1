"""Reading image files of every kind that data sets hold, as RGB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import regular
from maskx_pipeline.text import shown

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
"""What is opened, by content and whatever the file's name: other formats of Pillow start other programs."""

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Of the names of image files, where a folder is searched for them."""

_PILLOW_ERRORS = (OSError, ValueError, SyntaxError, TypeError, EOFError, struct.error)
"""What Pillow raises on corrupt files, as found by feeding it some."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

MAX_PIXELS = 178_956_970
"""What Pillow opens by itself: 512 MB as RGB."""

_limit = MAX_PIXELS


def limit_pixels(most: int) -> None:
    """Refuse larger images from now on, in this process; Pillow's own limit, which calls them an attack, is lifted."""
    global _limit
    _limit = most
    Image.MAX_IMAGE_PIXELS = None


def read_image(path: Path | str, *, width: int | None = None, height: int | None = None) -> Tensor:
    """Read an image as :func:`read_pixels` does, as a uint8 tensor [3, H, W]."""
    import torch  # here, so that pictures and headers need none

    return torch.from_numpy(read_pixels(path, width=width, height=height)).permute(2, 0, 1).contiguous()


def read_pixels(path: Path | str, *, width: int | None = None, height: int | None = None) -> NDArray[np.uint8]:
    """Read an image as RGB.

    Grey, palette, CMYK, 16-bit and transparent images are converted (transparency is dropped). The EXIF orientation is
    applied, as a viewer does, unless the image has the given size only as it is stored: boxes and masks were drawn on
    the image as the annotation tool showed it, and few tools ignore the tag.

    Args:
        width: Width that the annotation file gives, in pixels. None for an image without annotations, such as a
            user's photo.
        height: Height that the annotation file gives, in pixels.

    Returns:
        uint8 [H, W, 3], values 0..255.

    Raises:
        DataError: The file is missing or corrupt, or has another size.
    """
    with open_image(path) as opened:
        opened.load()  # some formats have the orientation behind the pixels
        if width is None or height is None or is_turned(opened, path, width=width, height=height):
            return np.array(to_rgb(ImageOps.exif_transpose(opened)))
        return np.array(to_rgb(opened))


@contextmanager
def open_image(path: Path | str) -> Iterator[Image.Image]:
    """Open an image file of one of :data:`FORMATS`; its pixels are not decoded yet.

    Raises:
        DataError: The file is missing, corrupt or of another format, also where that shows only in the block.
        TooLargeError: It has more pixels than are read.
    """
    with errors_named(path), open_picture(regular(Path(path))) as opened:
        _refuse_size(opened, path)
        yield opened


def _refuse_size(image: Image.Image, path: Path | str) -> None:
    """Raise a TooLargeError for an image that has more pixels than are read."""
    if image.width * image.height > _limit:
        raise _too_large(path, f"{image.width}x{image.height} pixels, {image.width * image.height:,} in all")


class TooLargeError(DataError):
    """An image has more pixels than are read."""


def _too_large(path: Path | str, pixels: str) -> TooLargeError:
    return TooLargeError(
        f"{_named(path)} is too large: it has {pixels}, and at most {_limit:,} are read.",
        "cut it into tiles, or raise max-pixels in [data] of maskx.toml",
    )


def _named(path: Path | str) -> str:
    return f"the image {shown(str(path))}"


def open_picture(source: Path | str | IO[bytes]) -> Image.Image:
    """Open a picture in one of :data:`FORMATS`, by what it holds; its errors are Pillow's, see :func:`errors_named`."""
    return Image.open(source, formats=FORMATS)


@contextmanager
def errors_named(path: Path | str) -> Iterator[None]:
    """Turn what Pillow raises into DataErrors that name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{_named(path)} does not exist.", "check `file_name` and the image folder") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{_named(path)} cannot be read: it is damaged, or none of {', '.join(FORMATS)} by its content.",
            "convert it to one of these, or drop it from the data",
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more pixels than Pillow opens by itself") from error
    except _PILLOW_ERRORS as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{_named(path)} cannot be read: {said}.", "replace it, or drop it from the data") from error


def is_turned(image: Image.Image, path: Path | str, *, width: int, height: int) -> bool:
    """Whether the orientation tag is applied to an image of the given size.

    Raises:
        DataError: It has another size, turned or not.
    """
    if upright_size(image) == (width, height):
        return orientation_of(image) != 1
    if image.size == (width, height):
        return False
    raise DataError(
        f"{_named(path)} is {image.width}x{image.height} pixels, but the annotation file says {width}x{height}.",
        "the boxes would not fit it: give the image that was annotated, or fix the annotation file",
    )


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as a viewer shows it, its orientation tag applied."""
    return (image.height, image.width) if orientation_of(image) in _SIDEWAYS else image.size


def orientation_of(image: Image.Image) -> int:
    """The orientation that a viewer applies, 1 to 8; 1 is none."""
    found = image.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


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
