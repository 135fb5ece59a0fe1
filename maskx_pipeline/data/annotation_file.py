"""Reading an annotation file: what must be right before anything in it can be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.data.annotation_columns import AnnotationColumns, FileBytes, Stamp, columns_of_lists
from maskx_pipeline.data.annotation_index import SMALLEST_INDEXED, read_index, write_index
from maskx_pipeline.data.annotation_parse import parse_annotations
from maskx_pipeline.errors import DataError, with_article
from maskx_pipeline.provenance.files import regular

_REQUIRED: Mapping[str, Mapping[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "categories": {"id": int, "name": str},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
}


def read_annotation_columns(path: Path) -> AnnotationColumns:
    """Read COCO-format JSON into columns; a UTF-8 byte order mark is accepted.

    A large file leaves an index in the user's cache folder, from which it is opened the next time, as long as it stays
    as it is. Its masks are read from the file itself when they are asked for, so it must not change meanwhile.

    Raises:
        DataError: The file is missing or no JSON, lacks a list or a required key, or has no categories.
    """
    try:
        stamp = Stamp.of(regular(path).stat())
        large = stamp.size >= SMALLEST_INDEXED
        if large and (found := read_index(path, stamp)) is not None:
            return found
        raw = path.read_bytes()
        settled = len(raw) == stamp.size and Stamp.of(path.stat()) == stamp
    except OSError as error:
        raise DataError(
            f"the annotation file {path} cannot be read: {error.strerror}.",
            "check train-annotations and val-annotations in [data] of maskx.toml",
        ) from error
    columns = parse_annotations(raw, source=FileBytes(path, stamp) if large and settled else raw)
    if columns is None:
        return columns_of_lists(_checked_lists(raw, path), hashlib.sha256(raw).hexdigest(), path)
    if large and settled:
        write_index(path, stamp, columns)
    return columns


def _checked_lists(raw: bytes, path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.", "give a COCO-format annotation file") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} holds {with_article(type(content).__name__)}, not an object.",
            "give a COCO-format annotation file (a results file holds only detections)",
        )
    lists = {name: _checked_list(content, name, path) for name in _REQUIRED}
    if not lists["categories"]:
        raise DataError(f"{path} has no categories.", "list every category, with id and name, under `categories`")
    return lists


def _checked_list(content: dict[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list):
        raise DataError(f"{path} has no list `{name}`.", "give a COCO-format annotation file")
    required = _REQUIRED[name]
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {name}[{index}] is not an object.")
        for key, kind in required.items():
            value = entry.get(key)
            if kind is int and isinstance(value, float) and value.is_integer():
                value = entry[key] = int(value)  # 1.0, as tables of numbers are saved
            if not isinstance(value, kind) or isinstance(value, bool):
                found = f"is {value!r:.40}" if key in entry else "is missing"
                raise DataError(
                    f"{path}: {name}[{index}]: `{key}` {found}.", f"give `{key}` as {_KIND_NAMES[kind]} in each entry"
                )
    return entries


_KIND_NAMES = {int: "a whole number", str: "text", list: "[x, y, width, height]"}
