"""Looking at a RoI cache from end to end: which rows are not what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskx_pipeline.cache.checksums import (
    HEAD_DIGEST,
    SUMS,
    head_digest,
    seal_is_right,
    seal_place,
    sums_of_rows,
)
from maskx_pipeline.cache.counter import last_counter, whole_counters
from maskx_pipeline.cache.hdf5_file import open_hdf5
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import GROUP_PATHS, PROGRESS, GroupName
from maskx_pipeline.errors import CacheError, listed

_ROWS = 64


def faults_of_cache(path: Path) -> list[str] | None:
    """What is damaged in a finished cache, joined ones with all their rows; None where it has no checksums at all."""
    try:
        with RoICache(path) as cache:
            found = [fault for group in GROUP_PATHS for fault in _faults_of_rows(cache, group)]
            paths = cache.paths
            unsealed = all(sums is None for sums in cache.sums.values()) and seal_place(path) is None
    except CacheError as error:
        return [error.message]
    if unsealed:
        return found or None
    if not found:
        found += [
            f"{file.name}: attributes, indexes or space between the rows are not what was written, by its seal"
            for file in paths
            if not seal_is_right(file)
        ]
    return found


def faults_of_partial(path: Path) -> list[str]:
    """What is damaged in an unfinished cache that no process has open.

    Raises:
        BlockingIOError: A process writes it.
    """
    try:
        with open_hdf5(path, "r") as file:
            if file.attrs.get(HEAD_DIGEST) != head_digest(file):
                return ["attributes or categories are not what was written"]
            if PROGRESS not in file:
                return []
            torn = len(whole_counters(file)) < len(file[PROGRESS])
            found = ["one of its two counters is not whole; the export goes on from the other"] if torn else []
            counts = zip(GROUP_PATHS.values(), last_counter(file)[2:], strict=True)
            for group, rows in counts:
                found += _faults_of_partial(file[group], rows) if group in file else []
            return found
    except BlockingIOError:
        raise
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        return [f"it cannot be read: {error}"]


def _faults_of_rows(cache: RoICache, group: GroupName) -> Iterator[str]:
    """A sentence for the rows that are damaged; one by one only where a batch is."""
    wrong: list[int] = []
    count = len(getattr(cache, group))
    for start in range(0, count, _ROWS):
        try:
            _read(cache, group, list(range(start, min(start + _ROWS, count))))
        except CacheError:
            for row in range(start, min(start + _ROWS, count)):
                try:
                    _read(cache, group, [row])
                except CacheError:
                    wrong.append(row)
    if wrong:
        yield f"{GROUP_PATHS[group]}: {len(wrong)} of {count} rows are damaged: {listed([str(r) for r in wrong], 5)}"


def _read(cache: RoICache, group: GroupName, rows: list[int]) -> None:
    cache.read_stored(group, rows)
    if group == "train" and cache.dimensions.colours:
        cache.read_colours(rows)


def _faults_of_partial(group: Any, rows: int) -> Iterator[str]:
    wrong: list[str] = []
    for start in range(0, rows, _ROWS):
        part = slice(start, min(start + _ROWS, rows))
        columns = {name: group[name][part] for name in group if name != SUMS}
        wrong += [str(start + row) for row in np.flatnonzero((sums_of_rows(columns) != group[SUMS][part]).any(axis=1))]
    if wrong:
        yield f"{group.name.lstrip('/')}: {len(wrong)} of {rows} rows are damaged: {listed(wrong, 5)}"
