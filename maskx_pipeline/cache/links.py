"""What a RoI cache may hold: its own data. Anything that leads out of the file is refused before it is followed."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from maskx_pipeline.errors import CacheError

FORMAT_HINT = "see docs/reference/cache-format.md"
_FOREIGN = "write the data into the file itself; only features and colours may be joined from caches beside it"


def find_dataset(file: Any, name: str, path: Path, *, virtual: bool = False) -> Any:
    """A dataset whose values are all in this file; None where there is none of this name.

    Who reads it calls :func:`check_written` first.

    Args:
        virtual: It may be joined from other caches; who reads it checks these.

    Raises:
        CacheError: It is linked from elsewhere, or kept in another file.
    """
    found = file
    for part in name.split("/"):
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
            raise CacheError(f"{path}: {name} is {kind} link, which is not followed.", _FOREIGN)
        found = found[part]
    if not isinstance(found, h5py.Dataset):
        return None
    if found.external is not None:
        raise CacheError(f"{path}: the values of {name} are kept in another file, which is not read.", _FOREIGN)
    if found.is_virtual and not virtual:
        raise CacheError(f"{path}: {name} is joined from other datasets.", _FOREIGN)
    return found


def check_source(file_name: str, name: str, path: Path) -> None:
    """Check where a joined dataset looks for its rows.

    Raises:
        CacheError: Not in the folder of the file or below it.
    """
    place = PurePosixPath(file_name)
    if place.is_absolute() or ".." in place.parts or "\\" in file_name or "%" in file_name:
        raise CacheError(
            f"{path}: {name} is joined from {file_name!r}, which is not in the folder of this file.",
            "join caches that lie beside it",
        )


def check_written(dataset: Any, name: str, path: Path) -> None:
    """Check that all rows of a dataset were written; one that is joined from others has none of its own.

    HDF5 shows zeros where nothing was written, and would take as much memory as the shape says. It counts chunks one by
    one, a fifth of a second per million.

    Raises:
        CacheError: Some were not.
    """
    if not dataset.size or dataset.is_virtual:
        return
    if dataset.chunks:
        wanted = math.prod(math.ceil(n / chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks() == wanted
    else:
        written = dataset.id.get_storage_size() >= dataset.size * dataset.dtype.itemsize
    if not written:
        raise CacheError(f"{path}: {name} has rows that were never written.", FORMAT_HINT)
