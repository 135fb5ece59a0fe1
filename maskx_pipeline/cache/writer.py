"""Writing a RoI cache so that a process killed at any moment loses only the images since the last commit.

All space is allocated when a group is made, with an upper bound of rows. From then on rows go to places that are
already in the chunk index, so the structure of the file does not change, and a counter says how many rows are whole.
The structure changes twice, each time by :func:`restructure`: when train is whole, it is cut to the rows used and val
is added; and when all is whole, val is cut and the file marked as complete.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
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


class RoICacheWriter:
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
        channels: int,
        roi_size: int,
        mask_size: int,
        train_rows: int,
        feature_dtype: str = "float16",
    ) -> Self:
        """Start a cache; an unfinished one of that name is replaced.

        Args:
            path: The finished file; until then it is ``path`` with `.partial` added.
            identity: What the cache is made from.
            categories: By ascending label.
            class_weights: The detector's, a row per category.
            channels: C of the features.
            roi_size: S of the features.
            mask_size: M of the targets.
            train_rows: The most rows that train can get.
            feature_dtype: What the features of train are stored in: ``float16``, or ``int8`` with scales.
        """
        dimensions = Dimensions(channels, roi_size, mask_size, feature_dtype)
        chunks = train_rows * len(dimensions.feature_columns("train"))
        discard_partial(path)
        with (
            atomic_path(partial_path(path)) as temporary,
            h5py.File(temporary, "w", libver="earliest", meta_block_size=index_bytes(chunks)) as file,
        ):
            write_header(file, identity, categories, class_weights, mask_size, complete=False)
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

    def append_train(
        self,
        *,
        features: NDArray[np.float16],
        boxes: NDArray[np.float32],
        image_ids: NDArray[np.int64],
        annotation_ids: NDArray[np.int64],
        labels: NDArray[np.int64],
        ious: NDArray[np.float32],
        flipped: NDArray[np.uint8],
        targets: NDArray[np.uint8],
    ) -> None:
        """Add RoIs of training objects.

        Args:
            features (float16 [N, C, S, S]): RoI features; finite where they are stored as int8.
            boxes (float32 [N, 4]): xyxy in pixels of the image, of the mirrored one where ``flipped``.
            image_ids (int64 [N]): COCO's.
            annotation_ids (int64 [N]): The object's.
            labels (int64 [N]): 1..K.
            ious (float32 [N]): IoU of the box with its object's box.
            flipped (uint8 [N]): 1 where the image was mirrored.
            targets (uint8 [N, M, M]): The object's mask in the frame of the box, 0 or 1.
        """
        self._append("train", {
            "features": features, "boxes": boxes, "image_ids": image_ids, "annotation_ids": annotation_ids,
            "labels": labels, "ious": ious, "flipped": flipped, "targets": pack_targets(targets),
        })  # fmt: skip

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

    def append_detections(
        self,
        *,
        features: NDArray[np.float16],
        boxes: NDArray[np.float32],
        scores: NDArray[np.float32],
        labels: NDArray[np.int64],
        image_ids: NDArray[np.int64],
    ) -> None:
        """Add detections of the frozen detector, N rows; see :meth:`append_train`. Scores are 0..1."""
        self._append("detections", {
            "features": features, "boxes": boxes, "scores": scores, "labels": labels, "image_ids": image_ids,
        })  # fmt: skip

    def append_ground_truth(
        self,
        *,
        features: NDArray[np.float16],
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        image_ids: NDArray[np.int64],
        annotation_ids: NDArray[np.int64],
        targets: NDArray[np.uint8],
        has_mask: NDArray[np.uint8],
    ) -> None:
        """Add objects of val, N rows; see :meth:`append_train`. The target is zeros where ``has_mask`` is 0."""
        self._append("ground_truth", {
            "features": features, "boxes": boxes, "labels": labels, "image_ids": image_ids,
            "annotation_ids": annotation_ids, "targets": pack_targets(targets), "has_mask": has_mask,
        })  # fmt: skip

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

    def _append(self, group: GroupName, values: Mapping[str, NDArray[Any]]) -> None:
        datasets = self._datasets_of(group)
        start, count = self._rows[group], len(values["features"])
        room = len(datasets["features"]) - start
        if count > room or any(len(column) != count for column in values.values()):
            raise ValueError(f"{count} rows for {group}, which has room for {room}; columns must have equal lengths")
        if count == 0:
            return
        for name, column in values.items():
            if name == "features":
                continue
            datasets[name][start : start + count] = column
        features = np.ascontiguousarray(values["features"], dtype="<f2")
        if features.shape[1:] != datasets["features"].shape[1:]:
            raise ValueError(f"features are {features.shape[1:]}, the cache has {datasets['features'].shape[1:]}")
        stored: dict[str, NDArray[Any]] = {"features": features}
        if "feature_scales" in datasets:
            stored["feature_scales"], stored["features"] = quantise(features)
        for name, rows in stored.items():
            dataset = datasets[name].id
            for number, row in enumerate(rows, start=start):
                dataset.write_direct_chunk((number, *(0,) * row.ndim), row)
        self._rows[group] = start + count

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
