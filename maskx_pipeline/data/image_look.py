"""What can be told of an image file without decoding it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from maskx_pipeline.data.images import TooLargeError, is_turned, open_image, orientation_of, read_pixels
from maskx_pipeline.errors import DataError

_TAIL = 1 << 10
"""Bytes at the end of a file in which its last mark is looked for; where more lies behind it, the image is decoded."""

_LAST_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_WHOLE_RANGE = 1 << 14
"""Of 16-bit values: where the largest is below, an upper byte of at most 63 is left."""


@dataclass(frozen=True, slots=True)
class ImageLook:
    """What speaks against an image.

    Attributes:
        fault: Why `read_image` would refuse it.
        too_large: Whether that is for its number of pixels.
        orientation: Its tag, where the size that the annotation file gives fits with and without it; else 1.
        largest: Of 16-bit values that fill a part of their range, the largest; else None.
        size: Bytes of the file.
    """

    fault: str | None = None
    too_large: bool = False
    orientation: int = 1
    largest: int | None = None
    size: int = 0


def look_at_image(path: Path, *, width: int, height: int) -> ImageLook:
    """Look at the header and the end of a file; only what seems to be cut off, or has 16-bit values, is decoded."""
    try:
        with open_image(path) as opened:
            either = 1
            if opened.size != (width, height) or _may_have_orientation(opened):
                turned = is_turned(opened, path, width=width, height=height)
                either = orientation_of(opened) if turned and opened.size == (width, height) else 1
            largest = _largest(opened) if opened.mode.startswith("I") else None
            kind, size = opened.format or "", path.stat().st_size
        if not _is_whole(path, kind, size):
            read_pixels(path)
        return ImageLook(orientation=either, largest=largest, size=size)
    except DataError as error:
        return ImageLook(error.message, isinstance(error, TooLargeError))


def piece_of(path: Path, size: int) -> bytes:
    """Some bytes of the middle and of the end: two files of a size that share them are likely the same."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), 2048, size // 2) + os.pread(file.fileno(), 2048, max(0, size - 2048))


def _may_have_orientation(image: Image.Image) -> bool:
    """Asked for it, Pillow decodes a PNG to its end."""
    return image.format != "PNG" or any(key in image.info for key in ("exif", "Raw profile type exif", "xmp"))


def _largest(image: Image.Image) -> int | None:
    values = np.asarray(image)
    largest = int(values.max()) if values.size else 0
    return largest if 255 < largest < _WHOLE_RANGE else None


def _is_whole(path: Path, kind: str, size: int) -> bool:
    """Whether a file ends as its format says; False where that does not tell."""
    with path.open("rb") as file:
        if kind in _LAST_MARKS:
            return _LAST_MARKS[kind] in os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))
        if kind == "WEBP":
            return int.from_bytes(os.pread(file.fileno(), 4, 4), "little") + 8 <= size
    return False
