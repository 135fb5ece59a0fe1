"""The index of a large annotation file: its columns, in a file of the user's cache folder.

The index is used if the annotation file has the size, the times of change and the inode that it had when it was read,
so that neither its content nor its digest is computed anew. A file changed less than two seconds before it was read is
not indexed, since a second change might leave the times as they are.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors.numpy import save_file

from maskx_pipeline.data.annotation_columns import AnnotationColumns, EntriesInText, FileBytes, Stamp
from maskx_pipeline.data.word_sums import word_sum
from maskx_pipeline.provenance.files import atomic_path, make_folder
from maskx_pipeline.provenance.lock import locked

_LOG = logging.getLogger("maskx")

SMALLEST_INDEXED = 1 << 24
"""Bytes. What is smaller is read in a moment."""

_VERSION = "4"
_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, RecursionError, OverflowError)
_SETTLED_NS = 2_000_000_000
_DTYPES = {"I64": np.int64, "I32": np.int32, "F64": np.float64, "F32": np.float32, "U8": np.uint8}


def index_path(annotation_file: Path) -> Path:
    """Where the index of an annotation file lies: by its path, in the user's cache folder."""
    name = hashlib.sha256(os.fsencode(annotation_file.resolve())).hexdigest()[:32]
    return platformdirs.user_cache_path("maskx") / "annotations" / f"{name}.safetensors"


def read_index(annotation_file: Path, stamp: Stamp) -> AnnotationColumns | None:
    """The columns of a file that is still as it was when it was indexed; None if there is no sound index of it.

    The numbers are mapped from the file, so that processes share them.
    """
    try:
        path = index_path(annotation_file)
        arrays, metadata = _read(path)
        if metadata["version"] != _VERSION or json.loads(metadata["stamp"]) != list(stamp):
            return None
        if metadata["checksum"] != _checksum(arrays, metadata):
            _LOG.warning("The index of %s is damaged, so the file itself is read.", annotation_file)
            return None
        texts = json.loads(arrays["texts"].tobytes())
        if len(texts["file_names"]) != arrays["images"].shape[1]:
            return None
        return AnnotationColumns(
            digest=metadata["digest"],
            categories=[(number, name) for number, name in texts["categories"]],
            file_names=texts["file_names"],
            images=arrays["images"],
            numbers=arrays["numbers"],
            boxes_xywh=arrays["boxes_xywh"],
            areas=arrays["areas"],
            flags=arrays["flags"],
            extents=arrays["extents"],
            entries=EntriesInText(FileBytes(annotation_file, stamp), arrays["starts"], arrays["lengths"]),
        )
    except _BROKEN:
        return None


def index_is_sound(annotation_file: Path) -> bool | None:
    """Whether the index of a file is what was written; None if there is none of this version."""
    path = index_path(annotation_file)
    if not path.is_file():
        return None
    try:
        arrays, metadata = _read(path)
        return metadata["checksum"] == _checksum(arrays, metadata) and json.loads(arrays["texts"].tobytes()) is not None
    except _BROKEN:
        return False


def write_index(annotation_file: Path, stamp: Stamp, columns: AnnotationColumns) -> None:
    """Write the index, if it can be written; a disk that is full or read-only is no error."""
    if not isinstance(columns.entries, EntriesInText) or time.time_ns() - max(stamp[1:3]) < _SETTLED_NS:
        return
    texts = json.dumps({"file_names": list(columns.file_names), "categories": list(columns.categories)})
    arrays: dict[str, NDArray[Any]] = {
        "texts": np.frombuffer(texts.encode(), dtype=np.uint8),
        "images": columns.images, "numbers": columns.numbers,
        "boxes_xywh": np.ascontiguousarray(columns.boxes_xywh),
        "areas": columns.areas, "flags": columns.flags, "extents": np.ascontiguousarray(columns.extents),
        "starts": columns.entries.starts, "lengths": columns.entries.lengths,
    }  # fmt: skip
    metadata = {"version": _VERSION, "stamp": json.dumps(list(stamp)), "digest": columns.digest}
    metadata["checksum"] = _checksum(arrays, metadata)
    try:
        path = index_path(annotation_file)
        make_folder(path.parent)
        with locked(path), atomic_path(path) as temporary:
            save_file(arrays, temporary, metadata=metadata)
    except Exception as error:  # safetensors raises its own kind for a full disk; the index is only there for speed
        _LOG.debug("%s is not indexed: %s", annotation_file, error)


def _checksum(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """A digest of the metadata but itself and of the sum of the words of each array, which takes a moment."""
    sums = {name: [str(array.dtype), array.shape, word_sum(array)] for name, array in sorted(arrays.items())}
    said = {name: text for name, text in sorted(metadata.items()) if name != "checksum"}
    return hashlib.sha256(json.dumps([said, sums]).encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays of a safetensors file as views of the mapped file, and its metadata.

    The library copies; the format is eight bytes of length, a header in JSON, and the arrays.
    """
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    begin = 8 + int.from_bytes(mapped[:8].tobytes(), "little")
    header = json.loads(mapped[8:begin].tobytes())
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        view = mapped[begin + first : begin + last].view(np.ndarray)
        arrays[name] = view.view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata
