"""Reading an annotation file: what must be right before anything in it can be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import DataError

_REQUIRED: Mapping[str, Mapping[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "categories": {"id": int, "name": str},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
}


def read_annotation_file(path: Path) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """Read COCO-format JSON; a UTF-8 byte order mark is accepted.

    Args:
        path: The annotation file.

    Returns:
        The lists ``images``, ``categories`` and ``annotations``, whose entries have their required keys with values of
        the right type, and the SHA-256 (hex) of the file.

    Raises:
        DataError: The file is missing or no JSON, lacks a list or a required key, or has no categories.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the annotation file {path} cannot be read: {error.strerror}.",
            "check train-annotations and val-annotations in [data] of maskx.toml",
        ) from error
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.", "give a COCO-format annotation file") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} holds a {type(content).__name__}, not an object.",
            "give a COCO-format annotation file (a results file holds only detections)",
        )
    lists = {name: _checked_list(content, name, path) for name in _REQUIRED}
    if not lists["categories"]:
        raise DataError(f"{path} has no categories.", "list every category, with id and name, under `categories`")
    return lists, hashlib.sha256(raw).hexdigest()


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
            if not isinstance(value, kind) or isinstance(value, bool):
                found = f"is {value!r:.40}" if key in entry else "is missing"
                raise DataError(
                    f"{path}: {name}[{index}]: `{key}` {found}.", f"give `{key}` as {_KIND_NAMES[kind]} in each entry"
                )
    return entries


_KIND_NAMES = {int: "a whole number", str: "text", list: "[x, y, width, height]"}
