"""Writing a RoI cache so that a kill or a power cut at any moment loses only the images since the last commit.

All space is allocated when a group is made, with an upper bound of rows. From then on rows go to places that are
already in the chunk index, so the structure of the file does not change, and a counter says how many rows are whole.
The structure changes twice, each time by :func:`restructure`: when train is whole, it is cut to the rows used and val
is added; and when all is whole, val is cut and the file marked as complete. A shard that is ended early changes once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.cache.checksums import HEAD_DIGEST, SUMS, head_digest, seal_cache, sums_of_rows
from maskx_pipeline.cache.counter import counter, last_counter
from maskx_pipeline.cache.eight_bit import quantise
from maskx_pipeline.cache.hdf5_file import chunk_offsets, is_damaged, open_hdf5, places_of_rows, what_is_wrong
from maskx_pipeline.cache.layout import allocate, cut, index_bytes, note_share, share_of, write_header
from maskx_pipeline.cache.restructure import recover, redo_path, restructure
from maskx_pipeline.cache.schema import GROUP_PATHS, PROGRESS, CacheIdentity, Dimensions, GroupName, pack_targets
from maskx_pipeline.cache.validation import being_written
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import atomic_path, move_into_place, partial_path, remove_file
from maskx_pipeline.provenance.room import check_room, reserve, writing

_GROUPS = tuple(GROUP_PATHS)
_AGAIN = "give --overwrite to start it again, or another --out"


class RoICacheWriter(contextlib.AbstractContextManager["RoICacheWriter"]):
    """Writes one RoI cache: train rows, then val rows, then :meth:`finish`. Made by `create` or `resume`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = partial_path(path)
        self._file: Any = None
        self._open()

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        identity: CacheIdentity,
        categories: tuple[Category, ...],
        class_weights: ClassWeights,
        dimensions: Dimensions,
        train_rows: int,
        share: NDArray[np.int64] | None = None,
    ) -> Self:
        """Start a cache; an unfinished one of that name is replaced.

        Args:
            path: The finished file; until then it is ``path`` with `.partial` added.
            train_rows: The most rows that train can get.
            share: Of a shard, its images by their places in the order of the export.
        """
        chunks = train_rows * len(dimensions.large_columns("train"))
        discard_partial(path)
        weights = sum(getattr(class_weights, field.name).nbytes for field in dataclasses.fields(class_weights))
        needed = index_bytes(chunks) + weights + train_rows * dimensions.row_bytes("train")
        with atomic_path(partial_path(path), needed=needed) as temporary:
            check_room(temporary, written=index_bytes(chunks) + weights, size=needed)
            with open_hdf5(temporary, "w", libver="earliest", meta_block_size=index_bytes(chunks)) as file:
                write_header(file, identity, categories, class_weights, dimensions.mask_size, complete=False)
                if share is not None:
                    note_share(file, share)
                counters = [counter(number, 0, [0] * len(_GROUPS)) for number in range(2)]
                file.create_dataset(PROGRESS, data=np.array(counters, dtype="<i8"))
                allocate(file, "train", dimensions, train_rows)
        return cls(path)

    @classmethod
    def resume(cls, path: Path, *, identity: CacheIdentity) -> Self:
        """Continue an unfinished cache after its last commit.

        Raises:
            CacheError: The unfinished file was made from something else, is damaged, or is being written.
        """
        try:
            writer = cls(path)
        except BlockingIOError as error:
            raise being_written(partial_path(path)) from error
        except OSError as error:
            hint = _AGAIN if is_damaged(error) else "see that it can be read and written, or give another --out"
            raise CacheError(f"{partial_path(path)} {what_is_wrong(error)}.", hint) from error
        except (ValueError, KeyError, RuntimeError) as error:
            raise CacheError(f"{partial_path(path)} is damaged: {error}.", _AGAIN) from error
        try:
            found = CacheIdentity.from_attributes(writer._file.attrs)
            is_whole = writer._file.attrs.get(HEAD_DIGEST) == head_digest(writer._file)
        except (KeyError, ValueError, TypeError, AttributeError, OSError, RuntimeError) as error:
            writer.close()
            raise CacheError(f"{partial_path(path)} is no unfinished RoI cache: {error}.", _AGAIN) from error
        if different := found.differences(identity):
            writer.close()
            raise CacheError(
                f"{partial_path(path)} is an unfinished export of something else: {', '.join(different)}.", _AGAIN
            )
        if not is_whole:
            writer.close()
            raise CacheError(f"{partial_path(path)} is damaged: its attributes or categories are not whole.", _AGAIN)
        return writer

    @property
    def share(self) -> NDArray[np.int64] | None:
        """Of a shard, its images by their places in the order of the export; None where it has all of them."""
        return share_of(self._file)

    @property
    def images_done(self) -> int:
        """Images of the share whose rows are whole, from its first on; not known of a file that is complete."""
        return last_counter(self._file)[1]

    @property
    def is_complete(self) -> bool:
        """Whether only the last step of :meth:`finish` is missing, the renaming."""
        return PROGRESS not in self._file

    @property
    def has_val(self) -> bool:
        """Whether train is whole and val has begun."""
        return "val" in self._file

    def append(self, group: GroupName, **columns: NDArray[Any]) -> None:
        """Add rows to a group, N of each of its columns; see :meth:`Dimensions.columns`.

        Args:
            **columns: As :class:`RoICache` has them, with ``features``, float16 [N, C, S, S] and finite where they are
                stored as int8; ``targets``, uint8 [N, M, M], 0 or 1, zeros without a mask; and, where the cache was
                made for it, ``colours``, uint8 [N, M, M, 3], RGB. Boxes of ``flipped`` rows are in the mirrored image.
        """
        if "targets" in columns:
            columns["targets"] = pack_targets(columns["targets"])
        datasets = self._datasets_of(group)
        start, count = self._rows[group], len(columns["features"])
        room = len(datasets["features"]) - start
        if count > room or any(len(column) != count for column in columns.values()):
            raise ValueError(f"{count} rows for {group}, which has room for {room}; columns must have equal lengths")
        if missing := (columns.keys() ^ datasets.keys()) - {"feature_scales", SUMS}:
            raise ValueError(f"the columns of {group} and those given differ in {', '.join(sorted(missing))}")
        if count == 0:
            return
        large: dict[str, NDArray[Any]] = {}
        small: dict[str, NDArray[Any]] = {}
        for name, column in columns.items():
            if column.shape[1:] != datasets[name].shape[1:]:
                raise ValueError(f"{name} are {column.shape[1:]}, the cache has {datasets[name].shape[1:]}")
            if name in ("features", "colours"):
                large[name] = np.ascontiguousarray(column, dtype="<f2" if name == "features" else "u1")
            else:
                small[name] = np.ascontiguousarray(column, dtype=datasets[name].dtype)
        if "feature_scales" in datasets:
            large["feature_scales"], large["features"] = quantise(large["features"])
        small[SUMS] = sums_of_rows({**small, **large})
        self._reserve(group, start, count)
        for name, rows in large.items():
            dataset = datasets[name].id
            for number, row in enumerate(rows, start=start):
                dataset.write_direct_chunk((number, *(0,) * row.ndim), row)
        for name, column in small.items():
            datasets[name][start : start + count] = column
        self._rows[group] = start + count

    def begin_val(self, *, detection_rows: int, ground_truth_rows: int) -> None:
        """Commit train as whole, and make room for at most so many rows of val."""
        self._check_committed()

        def change(file: h5py.File) -> None:
            _add_val(file, detection_rows=detection_rows, ground_truth_rows=ground_truth_rows)

        self.close()
        with writing(self._partial):
            restructure(self._partial, change, metadata_bytes=index_bytes(detection_rows + ground_truth_rows))
            self._open()

    def commit(self, images_done: int) -> None:
        """Make what was added permanent: an interrupted export continues after ``images_done`` images."""
        self._sync()  # rows first: the counter must never promise rows that are not there
        number = last_counter(self._file)[0] + 1
        self._file[PROGRESS][number % 2] = counter(number, images_done, [self._rows[group] for group in _GROUPS])
        self._sync()

    def finish(self) -> Path:
        """Cut the groups to the rows used, mark the file as complete and give it its name."""
        return self._end(_finish)

    def finish_early(self) -> Path:
        """Make of what is committed a finished shard that has these images and no others."""

        def change(file: h5py.File) -> None:
            share, done = share_of(file), last_counter(file)[1]
            if "val" not in file:
                _add_val(file, detection_rows=0, ground_truth_rows=0)
            _finish(file)
            note_share(file, np.arange(done) if share is None else share[:done])

        return self._end(change)

    def _end(self, change: Callable[[h5py.File], None]) -> Path:
        if not self.is_complete:
            self._check_committed()
            self.close()
            with writing(self._partial):
                restructure(self._partial, change)
        self.close()
        with writing(self._partial):
            seal_cache(self._partial)
        move_into_place(self._partial, self.path)
        return self.path

    def close(self) -> None:
        """Close the file; rows since the last commit will be written again by the resumed export."""
        if self._file:
            self._file.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self) -> None:
        recover(self._partial)
        self._file = open_hdf5(self._partial, "r+", libver="earliest")
        rows = last_counter(self._file)[2:] if PROGRESS in self._file else [0] * len(_GROUPS)
        self._rows = {group: int(count) for group, count in zip(_GROUPS, rows, strict=True)}
        self._datasets: dict[GroupName, dict[str, Any]] = {}
        self._offsets: dict[GroupName, dict[str, NDArray[np.int64]]] = {}

    def _datasets_of(self, group: GroupName) -> dict[str, Any]:
        """The group's datasets, looked up once with the places of their chunks: in each call it would take longer than
        the writing.

        Raises:
            CacheError: One has no place for some of its rows.
        """
        if group not in self._datasets:
            datasets = dict(self._file[GROUP_PATHS[group]].items())
            offsets = {name: chunk_offsets(dataset) for name, dataset in datasets.items()}
            if lost := [name for name, places in offsets.items() if (places < 0).any()]:
                raise CacheError(f"{self._partial} is damaged: {lost[0]} of {group} has rows without a place.", _AGAIN)
            self._datasets[group], self._offsets[group] = datasets, offsets
        return self._datasets[group]

    def _reserve(self, group: GroupName, start: int, count: int) -> None:
        """Make sure that some rows can be written: once a write has failed, HDF5 crashes when it closes the file.

        Raises:
            MachineError: There is no room.
        """
        datasets, offsets = self._datasets[group], self._offsets[group]
        descriptor = self._file.id.get_vfd_handle()
        for_row = sum(dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])) for dataset in datasets.values())
        with writing(self._partial, needed=for_row * (len(datasets["features"]) - start)):
            for name, dataset in datasets.items():
                for begin, length in places_of_rows(dataset, offsets[name], start, count):
                    reserve(descriptor, begin, length)

    def _check_committed(self) -> None:
        if [self._rows[group] for group in _GROUPS] != last_counter(self._file)[2:]:
            raise ValueError("commit() the last rows first")

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())


def discard_partial(path: Path) -> None:
    """Remove what an unfinished export left of this cache."""
    remove_file(redo_path(partial_path(path)))
    remove_file(partial_path(path))


def _add_val(file: h5py.File, *, detection_rows: int, ground_truth_rows: int) -> None:
    cut(file, "train", last_counter(file)[2])
    features = file["train/features"].shape
    dimensions = Dimensions(features[1], features[2], int(file.attrs["mask_size"]))
    allocate(file, "ground_truth", dimensions, ground_truth_rows)
    allocate(file, "detections", dimensions, detection_rows)  # the looser bound: its end is cut from the file


def _finish(file: h5py.File) -> None:
    for group, count in zip(_GROUPS, last_counter(file)[2:], strict=True):
        cut(file, group, count)
    del file[PROGRESS]
    file.attrs["complete"] = True
