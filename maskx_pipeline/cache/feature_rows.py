"""Random access to a cache's large columns: rows are read from where HDF5 says they lie, in one file or joined ones."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from h5py import h5s
from numpy.typing import NDArray

from maskx_pipeline.cache.hdf5_file import chunk_offsets
from maskx_pipeline.cache.links import FORMAT_HINT, check_source, check_written, find_dataset
from maskx_pipeline.errors import CacheError


@dataclass(frozen=True)
class _Source:
    """A dataset that rows are read from; ``dtype`` is that of the whole."""

    dataset: Any
    dtype: np.dtype[Any]

    @functools.cached_property
    def offsets(self) -> NDArray[np.int64] | None:
        """Where each row of ``dataset`` begins in its file; found at the first read, in a second per million rows."""
        return _row_offsets(self.dataset, self.dtype)


@dataclass(frozen=True)
class _Segment:
    """Rows from ``start`` on of the whole are rows from ``source_start`` on of ``source``, which may have several."""

    start: int
    source_start: int
    source: _Source

    def read(self, rows: NDArray[np.int64], places: NDArray[np.intp], out: NDArray[Any]) -> None:
        """Read rows of the whole into ``out[places]``; neighbours in the file and in ``out`` by one call."""
        rows, source = rows - self.start + self.source_start, self.source
        if source.offsets is None:
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                out[place] = source.dataset[row]
            return
        buffer: Any = out  # memoryview refuses one that is not contiguous
        raw, row_bytes = memoryview(buffer).cast("B"), out[0].nbytes
        descriptor = source.dataset.file.id.get_vfd_handle()
        offsets = source.offsets[rows]
        ends = np.flatnonzero((np.diff(offsets) != row_bytes) | (np.diff(places) != 1)) + 1
        for first, last in itertools.pairwise([0, *ends.tolist(), len(rows)]):
            start = int(places[first]) * row_bytes
            _read_at(descriptor, int(offsets[first]), raw[start : start + (last - first) * row_bytes])


class FeatureRows:
    """The rows of a large column, such as features; it may be virtual, that is, joined from datasets of other files.

    Reads are safe from threads and in forked processes: the rows of maskx's own layout are read at explicit positions
    of the file, and around calls of HDF5, and around fork, h5py holds a lock.

    Args:
        dataset: Of N rows, each best a chunk of its own.
        open_source: Opens a file by its path; called once for each joined file.
        path: The file of ``dataset``; joined files are looked for relative to its folder.
    """

    def __init__(self, dataset: Any, *, open_source: Callable[[Path], Any], path: Path) -> None:
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self._path, self._open_source = path, open_source
        segments = self._virtual_segments(dataset) if dataset.is_virtual else [self._whole(dataset)]
        self._segments = sorted(segments, key=lambda segment: segment.start)
        self._starts = [segment.start for segment in self._segments]

    def read(self, indices: NDArray[np.integer[Any]] | Sequence[int], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read rows in the order asked for: [n, ...] of the dataset's type.

        Args:
            out: Where they go, of that shape and type; new memory costs as much as the reading, so who reads often
                gives some.

        Raises:
            IndexError: A row that does not exist.
            CacheError: The file cannot be read there.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.shape[0]):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {self.shape[0]}")
        rows = np.empty((len(wanted), *self.shape[1:]), dtype=self.dtype) if out is None else out
        if not rows.size:
            return rows
        numbers = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(numbers).tolist():
            segment, places = self._segments[number], np.flatnonzero(numbers == number)
            try:
                segment.read(wanted[places], places, rows)
            except (OSError, RuntimeError) as error:  # h5py raises the latter for a broken chunk index
                dataset = segment.source.dataset
                raise CacheError(
                    f"{dataset.file.filename}: a row of {dataset.name} cannot be read: {error}.",
                    "check the disk, copy the file again, or run `maskx export-embeddings --overwrite`",
                ) from error
        return rows

    def _virtual_segments(self, dataset: Any) -> list[_Segment]:
        """The sources of a virtual dataset, each checked to exist: HDF5 would show zeros in place of a missing one."""
        segments, covered, shown = [], 0, 0
        sources: dict[tuple[Path, str], _Source] = {}
        try:
            mappings = dataset.virtual_sources()
        except RuntimeError as error:  # an empty selection, for one
            raise CacheError(f"{self._path}: HDF5 cannot say what {dataset.name} is joined from: {error}.") from error
        for mapping in mappings:
            check_source(mapping.file_name, dataset.name, self._path)
            source = self._path if mapping.file_name == "." else self._path.parent / mapping.file_name
            place = (source, mapping.dset_name)
            if place not in sources:
                opened = find_dataset(self._open_source(source), mapping.dset_name.lstrip("/"), source)
                if opened is None:
                    raise CacheError(f"{source}: the dataset {mapping.dset_name} is missing.", FORMAT_HINT)
                check_written(opened, mapping.dset_name, source)
                sources[place] = _Source(opened, self.dtype)
            shown += mapping.vspace.get_select_npoints()
            block, source_block = _block(mapping.vspace), _block(mapping.src_space, sources[place].dataset.shape)
            if block is not None and source_block is not None:
                segments.append(_Segment(block[0], source_block[0], sources[place]))
                covered += block[1]
        if shown < math.prod(self.shape):
            raise CacheError(f"{self._path}: {dataset.name} has rows that no file holds.", FORMAT_HINT)
        if covered != self.shape[0]:  # joined in some other way than runs of rows: HDF5 finds the rows
            return [self._whole(dataset)]
        return segments

    def _whole(self, dataset: Any) -> _Segment:
        return _Segment(0, 0, _Source(dataset, self.dtype))


def _block(space: Any, shape: tuple[int, ...] | None = None) -> tuple[int, int] | None:
    """First row and number of rows of a selection, None if it is not a run of whole rows."""
    shape = shape or space.shape
    if space.get_select_type() == h5s.SEL_ALL:
        return 0, shape[0]
    first, last = space.get_select_bounds()
    rows = last[0] - first[0] + 1
    whole = space.get_select_npoints() == rows * math.prod(shape[1:])
    return (int(first[0]), int(rows)) if whole else None


def _row_offsets(dataset: Any, dtype: np.dtype[Any]) -> NDArray[np.int64] | None:
    """Where each row begins in the file; None, and HDF5 reads, for another layout than the writer of maskx makes.

    That is each row one chunk of ``dtype``, not compressed, and all of them present, in a file without a user block, at
    which versions of HDF5 differ in what they call an offset.
    """
    file = dataset.file
    plain = dataset.dtype == dtype and dataset.id.get_create_plist().get_nfilters() == 0
    known = file.driver == "sec2" and not file.userblock_size and hasattr(dataset.id, "chunk_iter")
    if dataset.chunks != (1, *dataset.shape[1:]) or not plain or not known:
        return None
    offsets = chunk_offsets(dataset)
    return offsets if (offsets >= 0).all() else None


def _read_at(descriptor: int, offset: int, out: memoryview) -> None:
    """Fill ``out``.

    Raises:
        OSError: The file ends before.
    """
    while out:
        count = os.preadv(descriptor, [out], offset)
        if count == 0:
            raise OSError(f"the file ends at byte {os.fstat(descriptor).st_size}, a row lies at {offset}")
        out, offset = out[count:], offset + count
