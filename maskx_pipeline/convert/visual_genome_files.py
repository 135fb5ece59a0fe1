"""Visual Genome's own files (v1.4), decoded image by image and checked."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from maskx_pipeline.errors import DataError

_BIGGEST_INT = (1 << 53) - 1
"""What float64 and int64 can hold."""

_Int = Annotated[int, msgspec.Meta(ge=-_BIGGEST_INT, le=_BIGGEST_INT)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=_BIGGEST_INT)]
_Number = _Int | float
_HINT = "give the files of Visual Genome v1.4, unpacked and unchanged"


class VisualGenomeImage(NamedTuple):
    """An image of image_data.json."""

    id: int
    file_name: str
    """The last folder and the name in the image's URL, as in ``VG_100K_2/1.jpg``."""
    width: int
    height: int
    coco_id: int | None
    """The same image in COCO, if it is there."""


class VisualGenomeObject(msgspec.Struct, gc=False):
    """An object of objects.json; the box, in pixels, may be without area or outside the image."""

    id: _Int = msgspec.field(name="object_id")
    synsets: list[str]
    x: _Number
    y: _Number
    w: _Number
    h: _Number

    @property
    def box_xywh(self) -> tuple[float, float, float, float]:
        """In pixels."""
        return self.x, self.y, self.w, self.h


class VisualGenomeObjects(msgspec.Struct, gc=False):
    """An entry of objects.json: the objects of one image."""

    image_id: _Int
    objects: list[VisualGenomeObject]


class _ImageEntry(msgspec.Struct, gc=False):
    image_id: _Int
    width: _Side
    height: _Side
    url: str
    coco_id: _Int | None


_Entry = TypeVar("_Entry", _ImageEntry, VisualGenomeObjects)


def stream_images(path: Path) -> Iterator[VisualGenomeImage]:
    """Read image_data.json.

    Raises:
        DataError: The file is broken, or an entry lacks a key or has a wrong value.
    """
    for index, entry in enumerate(_entries(path, _ImageEntry)):
        place = PurePosixPath(urlsplit(entry.url).path)
        if place.name in ("", ".."):
            raise DataError(f"{path}: entry {index}: `url` is {entry.url!r:.40}, not the image's URL.", _HINT)
        file_name = "/".join(part for part in place.parts[-2:] if part != "/")
        yield VisualGenomeImage(entry.image_id, file_name, entry.width, entry.height, entry.coco_id)


def stream_objects(path: Path) -> Iterator[VisualGenomeObjects]:
    """Read objects.json, the objects of one image at a time.

    Raises:
        DataError: The file is broken, or an entry or object lacks a key or has a wrong value.
    """
    return _entries(path, VisualGenomeObjects)


def _entries(path: Path, kind: type[_Entry]) -> Iterator[_Entry]:
    """Decode a JSON list entry by entry: in memory are the file's bytes, where each entry lies, and one entry."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "check the path") from error
    start = len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
    try:
        texts = msgspec.json.decode(memoryview(raw)[start:], type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON list, or is cut off: {error}.", _HINT) from error
    decode = msgspec.json.Decoder(kind).decode
    for index, text in enumerate(texts):
        try:
            entry = decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: entry {index}: {error}.", _HINT) from error
        yield entry


def read_coco_ids(path: Path) -> frozenset[int]:
    """Read the image ids of a COCO annotation file, of a JSON list of ids, or of a text file with an id per line.

    Raises:
        DataError: The file cannot be read or holds none of these.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "check --coco-val") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}.", "check --coco-val") from error
    try:
        content = json.loads(text) if text.lstrip()[:1] in ("{", "[") else [int(line) for line in text.split()]
        entries = content["images"] if isinstance(content, dict) else content
        ids = [entry["id"] if isinstance(entry, dict) else entry for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path} holds no image ids: {type(error).__name__}: {error}.",
            "give instances_val2017.json, or a list of the ids of its images",
        ) from error
    if not ids or not all(type(image_id) is int and abs(image_id) <= _BIGGEST_INT for image_id in ids):
        raise DataError(
            f"{path} holds no list of image ids.", "give instances_val2017.json, or a list of the ids of its images"
        )
    return frozenset(ids)


def clip_box(
    box_xywh: tuple[float, float, float, float], image: VisualGenomeImage
) -> tuple[float, float, float, float] | None:
    """The part of a box that lies in the image, as [x, y, width, height]; the box itself if that is all of it.

    Returns:
        None where no part of it does.
    """
    x, y, width, height = box_xywh
    if x >= 0 and y >= 0 and x + width <= image.width and y + height <= image.height:
        return box_xywh
    left, top = max(x, 0), max(y, 0)
    clipped = (left, top, min(x + width, image.width) - left, min(y + height, image.height) - top)
    return clipped if min(clipped[2:]) > 0 else None
