"""Writing a RoI cache so that a process killed at any moment loses only the images since the last commit.

All space is allocated when a group is made, with an upper bound of rows. From then on rows go to places that are
already in the chunk index, so the structure of the file does not change, and a counter says how many rows are whole.
The structure changes twice, each time by :func:`restructure`: when train is whole, it is cut to the rows used and val
is added; and when all is whole, val is cut and the file marked as complete.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.cache.eight_bit import quantise
from maskx_pipeline.cache.layout import allocate, cut, index_bytes, write_header
from maskx_pipeline.cache.restructure import recover, redo_path, restructure
from maskx_pipeline.cache.schema import GROUP_PATHS, PROGRESS, CacheIdentity, Dimensions, GroupName, pack_targets
from maskx_pipeline.cache.validation import being_written
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import atomic_path

_GROUPS = tuple(GROUP_PATHS)


def partial_path(path: Path) -> Path:
    """Where a cache lies until it is whole."""
    return path.with_name(f"{path.name}.partial")


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
    ) -> Self:
        """Start a cache; an unfinished one of that name is replaced.

        Args:
            path: The finished file; until then it is ``path`` with `.partial` added.
            train_rows: The most rows that train can get.
        """
        chunks = train_rows * len(dimensions.large_columns("train"))
        discard_partial(path)
        with (
            atomic_path(partial_path(path)) as temporary,
            h5py.File(temporary, "w", libver="earliest", meta_block_size=index_bytes(chunks)) as file,
        ):
            write_header(file, identity, categories, class_weights, dimensions.mask_size, complete=False)
            file.create_dataset(PROGRESS, data=np.zeros(1 + len(_GROUPS), dtype="<i8"))
            allocate(file, "train", dimensions, train_rows)
        return cls(path)

    @classmethod
    def resume(cls, path: Path, *, identity: CacheIdentity) -> Self:
        """Continue an unfinished cache after its last commit.

        Raises:
            CacheError: The unfinished file was made from something else, is damaged, or is being written.
        """
        again = "give --overwrite to start it again, or another --out"
        try:
            writer = cls(path)
        except BlockingIOError as error:
            raise being_written(partial_path(path)) from error
        except (OSError, ValueError, KeyError) as error:
            raise CacheError(f"{partial_path(path)} is damaged: {error}.", again) from error
        try:
            found = CacheIdentity.from_attributes(writer._file.attrs)
        except (KeyError, ValueError) as error:
            writer.close()
            raise CacheError(f"{partial_path(path)} is no unfinished RoI cache: {error}.", again) from error
        if different := found.differences(identity):
            writer.close()
            raise CacheError(
                f"{partial_path(path)} is an unfinished export of something else: {', '.join(different)}.", again
            )
        return writer

    @property
    def images_done(self) -> int:
        """Images of train and val whose rows are whole, in the order of the export."""
        return int(self._file[PROGRESS][0])

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
        if missing := (columns.keys() ^ datasets.keys()) - {"feature_scales"}:
            raise ValueError(f"the columns of {group} and those given differ in {', '.join(sorted(missing))}")
        if count == 0:
            return
        large: dict[str, NDArray[Any]] = {}
        for name, column in columns.items():
            if column.shape[1:] != datasets[name].shape[1:]:
                raise ValueError(f"{name} are {column.shape[1:]}, the cache has {datasets[name].shape[1:]}")
            if name in ("features", "colours"):
                large[name] = np.ascontiguousarray(column, dtype="<f2" if name == "features" else "u1")
            else:
                datasets[name][start : start + count] = column
        if "feature_scales" in datasets:
            large["feature_scales"], large["features"] = quantise(large["features"])
        for name, rows in large.items():
            dataset = datasets[name].id
            for number, row in enumerate(rows, start=start):
                dataset.write_direct_chunk((number, *(0,) * row.ndim), row)
        self._rows[group] = start + count

    def begin_val(self, *, detection_rows: int, ground_truth_rows: int) -> None:
        """Commit train as whole, and make room for at most so many rows of val."""
        self._check_committed()

        def change(file: h5py.File) -> None:
            rows = file[PROGRESS][:]
            cut(file, "train", int(rows[1]))
            features = file["train/features"].shape
            dimensions = Dimensions(features[1], features[2], int(file.attrs["mask_size"]))
            allocate(file, "ground_truth", dimensions, ground_truth_rows)
            allocate(file, "detections", dimensions, detection_rows)  # the looser bound: its end is cut from the file

        self.close()
        restructure(self._partial, change, metadata_bytes=index_bytes(detection_rows + ground_truth_rows))
        self._open()

    def commit(self, images_done: int) -> None:
        """Make what was added permanent: an interrupted export continues after ``images_done`` images."""
        self._sync()  # rows first: the counter must never promise rows that are not there
        self._file[PROGRESS][...] = [images_done, *(self._rows[group] for group in _GROUPS)]
        self._sync()

    def finish(self) -> Path:
        """Cut the groups to the rows used, mark the file as complete and give it its name."""
        if not self.is_complete:
            self._check_committed()
            self.close()
            restructure(self._partial, _finish)
        self.close()
        self._partial.replace(self.path)
        return self.path

    def close(self) -> None:
        """Close the file; rows since the last commit will be written again by the resumed export."""
        if self._file:
            self._file.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self) -> None:
        recover(self._partial)
        self._file = h5py.File(self._partial, "r+", libver="earliest", locking="best-effort")
        rows = self._file[PROGRESS][1:] if PROGRESS in self._file else [0] * len(_GROUPS)
        self._rows = {group: int(count) for group, count in zip(_GROUPS, rows, strict=True)}
        self._datasets: dict[GroupName, dict[str, Any]] = {}

    def _datasets_of(self, group: GroupName) -> dict[str, Any]:
        """The group's datasets, looked up once: by path in each call it would cost more than writing small rows."""
        if group not in self._datasets:
            self._datasets[group] = dict(self._file[GROUP_PATHS[group]].items())
        return self._datasets[group]

    def _check_committed(self) -> None:
        if [self._rows[group] for group in _GROUPS] != self._file[PROGRESS][1:].tolist():
            raise ValueError("commit() the last rows first")

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())


def discard_partial(path: Path) -> None:
    """Remove what an unfinished export left of this cache."""
    redo_path(partial_path(path)).unlink(missing_ok=True)
    partial_path(path).unlink(missing_ok=True)


def _finish(file: h5py.File) -> None:
    _, *rows = file[PROGRESS][:].tolist()
    for group, count in zip(_GROUPS, rows, strict=True):
        cut(file, group, count)
    del file[PROGRESS]
    file.attrs["complete"] = True
