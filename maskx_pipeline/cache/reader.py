"""Reading a RoI cache: the only thing that stage 2 and the evaluation know of stage 1."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskx_pipeline.cache.checksums import AGAIN, damaged_rows, wrong_rows
from maskx_pipeline.cache.eight_bit import as_float16
from maskx_pipeline.cache.feature_rows import FeatureRows
from maskx_pipeline.cache.schema import GROUP_PATHS, CacheIdentity, Dimensions, GroupName, unpack_targets
from maskx_pipeline.cache.validation import (
    check_rows,
    check_scales,
    open_cache_file,
    read_head,
    read_identity,
    read_sizes,
    read_sums,
)
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.detector import Detections
from maskx_pipeline.errors import CacheError
from maskx_pipeline.text import shown

Indices = NDArray[np.integer[Any]] | Sequence[int]


@dataclass(frozen=True)
class _Rows:
    boxes: NDArray[np.float32]
    image_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class TrainRows(_Rows):
    """RoIs of training objects; arrays of N rows, see docs/reference/cache-format.md."""

    annotation_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    ious: NDArray[np.float32]
    flipped: NDArray[np.uint8]
    object_boxes: NDArray[np.float32]
    has_mask: NDArray[np.uint8]


@dataclass(frozen=True)
class DetectionRows(_Rows):
    """Detections of the frozen detector in the images of val."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def at(self, rows: NDArray[np.int64]) -> Detections:
        """Some of them."""
        return _detections(self.boxes[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True)
class GroundTruthRows(_Rows):
    """The objects of val."""

    annotation_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    has_mask: NDArray[np.uint8]

    def at(self, rows: NDArray[np.int64]) -> Detections:
        """Some of them as a perfect detector would find them: with score 1."""
        return _detections(self.boxes[rows], np.ones(len(rows), dtype=np.float32), self.labels[rows])


def _detections(*columns: NDArray[Any]) -> Detections:
    return Detections(*map(torch.from_numpy, columns))


class RoICache(contextlib.AbstractContextManager["RoICache"]):
    """An open RoI cache. Everything but features and colours is in memory after opening.

    May be used by several threads, by forked processes (a DataLoader's workers), and, being pickled as its path, by
    spawned ones.

    Attributes:
        categories: By ascending label.
        class_weights: The detector's last layer, a row per category.
        identity: What the cache was made from.
        dimensions: The sizes, and what the features of train are stored in.

    Raises:
        CacheError: The file is missing, unfinished, truncated, of another format or version, or inconsistent.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._files: list[Any] = []
        try:
            self._read()
        except (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError) as error:
            self.close()
            raise CacheError(f"{self.path} is damaged: {error}.", AGAIN) from error
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        file = self._open(self.path)
        self.identity: CacheIdentity = read_identity(file, self.path)
        dimensions: Dimensions = read_sizes(file, self.path)
        self.dimensions = dimensions
        self.channels, self.roi_size = dimensions.channels, dimensions.roi_size
        self.mask_size = dimensions.mask_size
        head = read_head(file, self.path)
        names = file["categories/name"].asstr()[:]
        self.categories = tuple(
            Category(id=int(category_id), name=shown(name), label=label)
            for label, (category_id, name) in enumerate(zip(head["id"], names, strict=True), 1)
        )
        weights = {name: torch.from_numpy(head[name]) for name in ("w_cls", "b_cls", "w_box", "b_box")}
        self.class_weights = ClassWeights(**weights)
        self._large: dict[GroupName, dict[str, FeatureRows]] = {}
        self.sums: dict[GroupName, NDArray[np.uint64] | None] = {}
        self._targets: dict[GroupName, NDArray[np.uint8]] = {}
        columns: dict[GroupName, dict[str, NDArray[Any]]] = {}
        for name, group_path in GROUP_PATHS.items():
            datasets, large = file[group_path], dimensions.large_columns(name)
            columns[name] = {
                column: datasets[column][...] for column in dimensions.columns(name) if column not in large
            }
            self.sums[name] = read_sums(file, group_path, columns[name], self.path)
            check_rows(columns[name], path=self.path, group=group_path, num_classes=len(self.categories))
            if "targets" in columns[name]:
                self._targets[name] = columns[name].pop("targets")
            self._large[name] = {
                column: FeatureRows(datasets[column], open_source=self._open_joined, path=self.path) for column in large
            }
        self.train = TrainRows(**columns["train"])
        self.detections = DetectionRows(**columns["detections"])
        self.ground_truth = GroundTruthRows(**columns["ground_truth"])

    @property
    def num_classes(self) -> int:
        """K, the number of categories."""
        return len(self.categories)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file and those joined in it."""
        return tuple(Path(file.filename) for file in self._files)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the identity and of all values but features and colours, which follow from the former."""
        found = hashlib.sha256(json.dumps(self.identity.to_attributes(), sort_keys=True).encode())
        found.update(json.dumps([self.dimensions.feature_dtype, self.dimensions.colours]).encode())
        found.update(json.dumps([dataclasses.astuple(category) for category in self.categories]).encode())
        weights = self.class_weights
        arrays: list[NDArray[Any]] = [w.numpy() for w in (weights.w_cls, weights.b_cls, weights.w_box, weights.b_box)]
        for rows in (self.train, self.detections, self.ground_truth):
            arrays += [getattr(rows, field.name) for field in dataclasses.fields(rows)]
        for array in (*arrays, *self._targets.values()):
            found.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def read_features(self, group: GroupName, indices: Indices) -> NDArray[np.float16]:
        """Read the RoI features of some rows, in the order asked for: float16 [n, C, S, S], however they are stored."""
        stored = [torch.from_numpy(column) for column in self.read_stored(group, indices)]
        features: NDArray[np.float16] = as_float16(stored).numpy()
        return features

    def read_stored(
        self, group: GroupName, indices: Indices, *, out: Sequence[NDArray[Any]] | None = None
    ) -> tuple[NDArray[Any], ...]:
        """Read features as they are stored; :func:`as_float16` makes of them what :meth:`read_features` gives.

        Args:
            indices: The rows, in the order wanted.

        Returns:
            n rows of each of ``dimensions.feature_columns(group)``: float16 [n, C, S, S] alone, or float32 [n, C] of
            scales and int8 [n, C, S, S].

        Raises:
            CacheError: The file cannot be read there, or what is read is not what was written, or a scale not finite.
        """
        names = list(self.dimensions.feature_columns(group))
        columns = [self._large[group][name] for name in names]
        places = [None] * len(columns) if out is None else out
        stored = tuple(rows.read(indices, place) for rows, place in zip(columns, places, strict=True))
        self._check_sums(group, dict(zip(names, stored, strict=True)), indices, 1)
        if len(stored) == 2:
            check_scales(stored[0], np.asarray(indices, dtype=np.int64).reshape(-1), self.path)
        return stored

    def read_targets(self, indices: Indices, group: GroupName = "train") -> NDArray[np.uint8]:
        """Unpack the mask targets of some rows of ``train`` or ``ground_truth``.

        Returns:
            uint8 [n, M, M], 0 or 1; zeros where ``has_mask`` is 0.
        """
        packed = self._targets[group][np.asarray(indices, dtype=np.int64).reshape(-1)]
        return unpack_targets(packed, self.mask_size)

    def read_colours(self, indices: Indices) -> NDArray[np.uint8]:
        """Read the image in the frame of some RoIs of ``train``, in the order asked for: uint8 [n, M, M, 3], RGB.

        Raises:
            CacheError: The cache has no colours, or the file cannot be read there.
        """
        if not self.dimensions.colours:
            raise CacheError(
                f"{self.path} holds no colours of the RoIs.", "run `maskx export-embeddings --colours --overwrite`"
            )
        colours = self._large["train"]["colours"].read(indices)
        self._check_sums("train", {"colours": colours}, indices, 2)
        return colours

    def _check_sums(self, group: GroupName, columns: Mapping[str, NDArray[Any]], indices: Indices, part: int) -> None:
        sums = self.sums[group]
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        if sums is not None and len(rows) and (wrong := wrong_rows(columns, sums[rows, part], rows)):
            raise damaged_rows(self.path, f"{' and '.join(columns)} of {GROUP_PATHS[group]}", wrong)

    def feature_bytes(self, group: GroupName) -> int:
        """Bytes of all features of a group as they are stored, with their scales."""
        return len(getattr(self, group)) * self.dimensions.feature_row_bytes(group)

    def check_matches(
        self, *, detector_sha256: str | None = None, train_digest: str | None = None, val_digest: str | None = None
    ) -> None:
        """Check that the cache was made from this detector and these annotation files; None checks nothing.

        Raises:
            CacheError: It was not; says of what.
        """
        for what, found, wanted in (
            ("another detector", self.identity.detector_sha256, detector_sha256),
            ("other training annotations", self.identity.train_digest, train_digest),
            ("other validation annotations", self.identity.val_digest, val_digest),
        ):
            if wanted is not None and found != wanted:
                raise CacheError(
                    f"{self.path} was made from {what}: sha256 {found:.12}, not {wanted:.12}.",
                    "run `maskx export-embeddings --overwrite`, or give the cache that belongs to it with --cache",
                )

    def close(self) -> None:
        """Close the file and those joined in it."""
        for file in self._files:
            file.close()
        self._files.clear()

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[RoICache], tuple[Path]]:
        return RoICache, (self.path,)

    def _open(self, path: Path) -> Any:
        file = open_cache_file(path)
        self._files.append(file)
        return file

    def _open_joined(self, path: Path) -> Any:
        """Open a shard: HDF5 itself would show zeros in place of one that is missing."""
        for file in self._files:
            if Path(file.filename) == path:
                return file
        if not path.is_file():
            raise CacheError(
                f"{self.path} is joined from several files, and {path} is missing.",
                "put it back beside it, or run `maskx export-embeddings --overwrite`",
            )
        file = self._open(path)
        if different := read_identity(file, path).differences(self.identity):
            raise CacheError(
                f"{path} does not belong to {self.path}: {', '.join(different)}.",
                "run `maskx export-embeddings --overwrite`",
            )
        return file
