"""What shows that a RoI cache is as it was written: a digest of its head, sums of its rows, a seal of all else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.cache.hdf5_file import open_hdf5
from maskx_pipeline.cache.schema import GROUP_PATHS
from maskx_pipeline.data.word_sums import row_sums
from maskx_pipeline.errors import CacheError, listed

SUMS = "sums"
"""uint64 [N, 3] in each group: for each row the sum of its small columns, of its features and of its colours."""

HEAD_DIGEST = "head_sha256"
AGAIN = "check the disk; copy the file again, or run `maskx export-embeddings --overwrite`"

LARGE = ("features", "feature_scales", "colours")
_OF_FEATURES = ("features", "feature_scales")
_MARK = b"\nmaskx-cache-sha256:"
_DIGITS = 64
_BLOCK_BYTES = 1 << 20


def sums_of(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.uint64]:
    """The sum of each row over several columns, in the order of their names: uint64 [N].

    Each column is multiplied by its own odd number, so that the sum changes where two are exchanged.
    """
    names = sorted(columns)
    total = row_sums(columns[names[0]])
    for number, name in enumerate(names[1:], start=1):
        total += np.uint64(2 * number + 1) * row_sums(columns[name])
    return total


def sums_of_rows(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.uint64]:
    """What :data:`SUMS` holds of rows, given all their columns as they are stored: uint64 [N, 3]."""
    parts = [
        {name: column for name, column in columns.items() if name not in LARGE},
        {name: column for name, column in columns.items() if name in _OF_FEATURES},
        {name: column for name, column in columns.items() if name == "colours"},
    ]
    count = len(next(iter(columns.values())))
    zeros = np.zeros(count, dtype=np.uint64)
    return np.stack([sums_of(part) if part else zeros for part in parts], axis=1)


def wrong_rows(columns: Mapping[str, NDArray[Any]], sums: NDArray[np.uint64], rows: NDArray[np.int64]) -> list[int]:
    """Those of ``rows`` whose columns do not have these sums."""
    found: list[int] = rows[sums_of(columns) != sums].tolist()
    return found


def damaged_rows(path: Path, what: str, rows: list[int]) -> CacheError:
    """The error for rows that are not what was written."""
    return CacheError(f"{path} is damaged: {what}, row {listed([str(row) for row in rows], 3)}.", AGAIN)


def head_columns(file: Any) -> dict[str, NDArray[Any]]:
    """The categories with their weights, by the names of the datasets."""
    return {name: file[f"categories/{name}"][()] for name in ("b_box", "b_cls", "id", "name", "w_box", "w_cls")}


def head_digest(file: Any, columns: Mapping[str, NDArray[Any]] | None = None) -> str:
    """SHA-256 (hex) of the attributes and of the categories with their weights.

    Args:
        columns: Those of :func:`head_columns`, where they were read before.
    """
    said = {name: str(value) for name, value in sorted(file.attrs.items()) if name not in ("complete", HEAD_DIGEST)}
    digest = hashlib.sha256(json.dumps(said).encode())
    for name, values in (head_columns(file) if columns is None else columns).items():
        if values.dtype == object:
            raw = json.dumps([text.decode("utf-8", "replace") for text in values.tolist()]).encode()
        else:
            raw = values.tobytes()
        digest.update(f"{name} {values.shape}\n".encode() + raw)
    return digest.hexdigest()


def seal_cache(path: Path) -> None:
    """Append the digest of all bytes but those of the large columns, which have sums; a seal that is there is replaced.

    HDF5 does not mind what lies behind its end.
    """
    end = seal_place(path)
    if end is not None:
        os.truncate(path, end)
    digest = _structure_digest(path)
    with path.open("ab") as stream:
        stream.write(_MARK + digest)
        stream.flush()
        os.fsync(stream.fileno())


def seal_place(path: Path) -> int | None:
    """Where the seal of a cache begins; None where it has none."""
    length = len(_MARK) + _DIGITS
    with path.open("rb") as stream:
        start = max(0, stream.seek(0, os.SEEK_END) - length)
        stream.seek(start)
        return start if stream.read(length).startswith(_MARK) else None


def seal_is_right(path: Path) -> bool:
    """Whether a cache with a seal is, apart from the large columns, what was sealed."""
    place = seal_place(path)
    if place is None:
        return False
    with path.open("rb") as stream:
        stream.seek(place + len(_MARK))
        return stream.read() == _structure_digest(path)


def _structure_digest(path: Path) -> bytes:
    with open_hdf5(path, "r") as file:
        skipped = sorted(_large_chunks(file))
    end = seal_place(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        position, last = 0, path.stat().st_size if end is None else end
        for start, length in [*skipped, (last, 0)]:
            stream.seek(position)
            while position < start:
                block = stream.read(min(_BLOCK_BYTES, start - position))
                if not block:
                    break
                digest.update(block)
                position += len(block)
            position = max(position, start + length)
    return digest.hexdigest().encode()


def _large_chunks(file: Any) -> Iterator[tuple[int, int]]:
    """First byte and length of each chunk of the large columns."""
    for group in GROUP_PATHS.values():
        for name in LARGE:
            dataset = file.get(f"{group}/{name}")
            if isinstance(dataset, h5py.Dataset) and not dataset.is_virtual and dataset.chunks:
                chunks: list[tuple[int, int]] = []
                dataset.id.chunk_iter(lambda chunk, to=chunks: to.append((chunk.byte_offset, chunk.size)))
                yield from chunks
