"""Opening HDF5 files, also where the file system has no locks, and where their chunks lie."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.errors import MachineError

_NOT_HDF5 = "file signature not found"


def open_hdf5(path: Path, mode: str, **options: Any) -> Any:
    """Open an HDF5 file with HDF5's own lock, or without one where the file system has none; returns the h5py.File.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: It cannot be opened; with ``errno`` where the system says why, without where HDF5 cannot read it.
        MachineError: There are no locks, and the environment asks for them.
    """
    try:
        return h5py.File(path, mode, **options)
    except OSError as error:
        if not _is_without_locks(error):
            raise
    try:
        return h5py.File(path, mode, locking=False, **options)
    except OSError as error:
        if not _is_without_locks(error):
            raise
        raise MachineError(
            f"{path} is on a file system without locks, and HDF5_USE_FILE_LOCKING asks for them.",
            "unset HDF5_USE_FILE_LOCKING, or set it to FALSE",
        ) from error


def chunk_offsets(dataset: Any) -> NDArray[np.int64]:
    """Where each chunk of whole rows begins in the file, -1 for one that is not there; a second per million chunks.

    HDF5 looks a single chunk up by going through all before it, so who asks often asks once for all.

    Raises:
        OSError: Its index has a chunk that is none of the dataset.
    """
    rows = dataset.chunks[0]
    offsets = np.full(math.ceil(len(dataset) / rows), -1, dtype=np.int64)

    def note(chunk: Any) -> None:
        number = chunk.chunk_offset[0] // rows
        if not 0 <= number < len(offsets):
            raise OSError(f"its index has a row {chunk.chunk_offset[0]} of {len(dataset)}")
        offsets[number] = chunk.byte_offset

    dataset.id.chunk_iter(note)
    return offsets


def places_of_rows(dataset: Any, offsets: NDArray[np.int64], start: int, count: int) -> list[tuple[int, int]]:
    """Where some rows of a dataset lie in the file, with those that share a chunk: first byte and length.

    Args:
        offsets: Where its chunks begin; see :func:`chunk_offsets`.
    """
    rows, size = dataset.chunks[0], dataset.dtype.itemsize * math.prod(dataset.chunks)
    begins = offsets[start // rows : (start + count - 1) // rows + 1].tolist()
    if begins[-1] == begins[0] + (len(begins) - 1) * size:  # they were allocated one after the other
        return [(begins[0], len(begins) * size)]
    return [(begin, size) for begin in begins]


def is_damaged(error: OSError) -> bool:
    """Whether a file is of HDF5 and cannot be read as that."""
    return error.errno is None and _NOT_HDF5 not in str(error)


def what_is_wrong(error: OSError) -> str:
    """Why a file could not be opened, as the end of a sentence; damaged is only what was seen to be."""
    if error.errno is not None:
        return f"cannot be opened: {error.strerror}"
    text = str(error)
    if _NOT_HDF5 in text:
        return "is not an HDF5 file"
    return f"{'is truncated' if 'truncated' in text else 'is damaged'}: {text}"


def _is_without_locks(error: OSError) -> bool:
    return "unable to lock file" in str(error) and error.errno not in (errno.EAGAIN, errno.EACCES)
