"""Random access to RoI features: one read per row, past HDF5's selections, from one file or from joined ones."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from h5py import h5s
from numpy.typing import NDArray

from maskx_pipeline.errors import CacheError


@dataclass(frozen=True)
class _Segment:
    """Rows ``start`` and following of the whole are rows ``source_start`` and following of ``dataset``."""

    start: int
    source_start: int
    dataset: Any
    direct: bool


class FeatureRows:
    """The rows of one features dataset, which may be virtual, that is, joined from datasets of other files.

    Reads are safe from threads and in forked processes: h5py holds a lock around each call and around fork, and HDF5
    reads at explicit positions of the file.

    Args:
        dataset: float16 [N, C, S, S].
        open_source: Opens a file by its path; called once for each joined file.
        path: The file of ``dataset``; joined files are looked for relative to its folder.
    """

    def __init__(self, dataset: Any, *, open_source: Callable[[Path], Any], path: Path) -> None:
        self.shape: tuple[int, ...] = dataset.shape
        self._path, self._open_source = path, open_source
        segments = self._virtual_segments(dataset) if dataset.is_virtual else [_segment(0, 0, dataset)]
        self._segments = sorted(segments, key=lambda segment: segment.start)
        self._starts = [segment.start for segment in self._segments]

    def read(
        self, indices: NDArray[np.integer[Any]] | Sequence[int], out: NDArray[np.float16] | None = None
    ) -> NDArray[np.float16]:
        """Read rows in the order asked for: float16 [n, C, S, S].

        Args:
            indices: The rows.
            out: Where they go, [n, C, S, S]; new memory costs as much as the reading, so who reads often gives some.

        Raises:
            IndexError: A row that does not exist.
            CacheError: The file cannot be read there.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.shape[0]):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {self.shape[0]}")
        rows = np.empty((len(wanted), *self.shape[1:]), dtype="<f2") if out is None else out
        raw = rows.view(np.uint8).reshape(len(wanted), 2 * math.prod(self.shape[1:]))
        try:
            for number, index in enumerate(wanted.tolist()):
                segment = self._segments[bisect.bisect_right(self._starts, index) - 1]
                row = index - segment.start + segment.source_start
                if segment.direct:
                    segment.dataset.id.read_direct_chunk((row, 0, 0, 0), out=raw[number])
                else:
                    rows[number] = segment.dataset[row]
        except OSError as error:
            raise CacheError(f"{self._path}: the features of a row cannot be read: {error}.") from error
        return rows

    def _virtual_segments(self, dataset: Any) -> list[_Segment]:
        """The sources of a virtual dataset, each checked to exist: HDF5 would show zeros in place of a missing one."""
        segments, covered = [], 0
        try:
            mappings = dataset.virtual_sources()
        except RuntimeError as error:  # an empty selection, for one
            raise CacheError(f"{self._path}: HDF5 cannot say what {dataset.name} is joined from: {error}.") from error
        for mapping in mappings:
            source = self._path if mapping.file_name == "." else self._path.parent / mapping.file_name
            opened = self._open_source(source)[mapping.dset_name]
            block, source_block = _block(mapping.vspace), _block(mapping.src_space, opened.shape)
            if block is not None and source_block is not None:
                segments.append(_segment(block[0], source_block[0], opened))
                covered += block[1]
        if covered != self.shape[0]:  # joined in some other way than runs of rows: HDF5 finds the rows
            return [_Segment(0, 0, dataset, direct=False)]
        return segments


def _block(space: Any, shape: tuple[int, ...] | None = None) -> tuple[int, int] | None:
    """First row and number of rows of a selection, None if it is not a run of whole rows."""
    shape = shape or space.shape
    if space.get_select_type() == h5s.SEL_ALL:
        return 0, shape[0]
    first, last = space.get_select_bounds()
    rows = last[0] - first[0] + 1
    whole = space.get_select_npoints() == rows * math.prod(shape[1:])
    return (int(first[0]), int(rows)) if whole else None


def _segment(start: int, source_start: int, dataset: Any) -> _Segment:
    """Direct reads need what the writer of maskx makes: each row one chunk, not compressed, and all of them present."""
    direct = (
        dataset.chunks == (1, *dataset.shape[1:])
        and dataset.dtype == np.dtype("<f2")
        and dataset.id.get_create_plist().get_nfilters() == 0
        and dataset.id.get_storage_size() == dataset.size * 2
    )
    return _Segment(start, source_start, dataset, direct)
