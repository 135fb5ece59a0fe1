"""Visual Genome's own files (v1.4), read entry by entry and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from maskx_pipeline.convert.json_stream import stream_json_list
from maskx_pipeline.errors import DataError

_BIGGEST_INT = 1 << 53
"""What float64 and int64 can hold."""


class VisualGenomeImage(NamedTuple):
    """An entry of image_data.json."""

    id: int
    file_name: str
    """The last folder and the name in the image's URL, as in ``VG_100K_2/1.jpg``."""
    width: int
    height: int
    coco_id: int | None
    """The same image in COCO, if it is there."""


class VisualGenomeObject(NamedTuple):
    """An object of an entry of objects.json."""

    id: int
    image_id: int
    synsets: list[str]
    box_xywh: tuple[float, float, float, float]
    """In pixels; may be without area, or outside the image."""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _BIGGEST_INT


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_int(value)


def _is_side(value: object) -> bool:
    return isinstance(value, int) and _is_int(value) and value > 0


def _is_id_or_null(value: object) -> bool:
    return value is None or _is_int(value)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and PurePosixPath(urlsplit(value).path).name not in ("", "..")


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


_Checks = Mapping[str, tuple[Callable[[object], bool], str]]

_IMAGE_KEYS: _Checks = {
    "image_id": (_is_int, "a whole number"),
    "width": (_is_side, "a positive whole number"),
    "height": (_is_side, "a positive whole number"),
    "url": (_is_url, "the image's URL"),
    "coco_id": (_is_id_or_null, "a whole number or null"),
}
_ENTRY_KEYS: _Checks = {"image_id": (_is_int, "a whole number"), "objects": (_is_list, "a list")}
_OBJECT_KEYS: _Checks = {
    "object_id": (_is_int, "a whole number"),
    "synsets": (_is_names, "a list of names, [] for none"),
    "x": (_is_number, "a number"),
    "y": (_is_number, "a number"),
    "w": (_is_number, "a number"),
    "h": (_is_number, "a number"),
}


def stream_images(path: Path) -> Iterator[VisualGenomeImage]:
    """Read image_data.json.

    Raises:
        DataError: The file is broken, or an entry lacks a key or has a wrong value.
    """
    for index, entry in enumerate(stream_json_list(path)):
        _check(entry, _IMAGE_KEYS, f"{path}: entry {index}")
        yield VisualGenomeImage(
            id=entry["image_id"],
            file_name="/".join(part for part in PurePosixPath(urlsplit(entry["url"]).path).parts[-2:] if part != "/"),
            width=entry["width"],
            height=entry["height"],
            coco_id=entry["coco_id"],
        )


def stream_objects(path: Path) -> Iterator[list[VisualGenomeObject]]:
    """Read objects.json, the objects of one image at a time.

    Raises:
        DataError: The file is broken, or an entry or object lacks a key or has a wrong value.
    """
    for index, entry in enumerate(stream_json_list(path)):
        _check(entry, _ENTRY_KEYS, f"{path}: entry {index}")
        image_id = entry["image_id"]
        objects = []
        for number, item in enumerate(entry["objects"]):
            if not isinstance(item, dict):
                raise DataError(f"{path}: image {image_id}: objects[{number}] is not an object.")
            _check(item, _OBJECT_KEYS, f"{path}: image {image_id}: objects[{number}]")
            box = (item["x"], item["y"], item["w"], item["h"])
            objects.append(VisualGenomeObject(item["object_id"], image_id, item["synsets"], box))
        yield objects


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
    if not ids or not all(_is_int(image_id) for image_id in ids):
        raise DataError(
            f"{path} holds no list of image ids.", "give instances_val2017.json, or a list of the ids of its images"
        )
    return frozenset(ids)


def clip_box(
    box_xywh: tuple[float, float, float, float], image: VisualGenomeImage
) -> tuple[float, float, float, float] | None:
    """The part of a box that lies in the image, as [x, y, width, height]; the box itself if that is all of it.

    Returns:
        None where no part of it does, or where a number is not finite.
    """
    x, y, width, height = box_xywh
    if not all(map(math.isfinite, box_xywh)):
        return None
    if x >= 0 and y >= 0 and x + width <= image.width and y + height <= image.height:
        return box_xywh
    left, top = max(x, 0), max(y, 0)
    clipped = (left, top, min(x + width, image.width) - left, min(y + height, image.height) - top)
    return clipped if min(clipped[2:]) > 0 else None


def _check(entry: dict[str, Any], checks: _Checks, where: str) -> None:
    for key, (is_right, kind) in checks.items():
        if not is_right(entry.get(key)) or key not in entry:
            found = f"is {entry[key]!r:.40}" if key in entry else "is missing"
            raise DataError(f"{where}: `{key}` {found}, not {kind}.", "give the file of Visual Genome v1.4, unchanged")
