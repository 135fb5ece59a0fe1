"""Refusing a file that is no whole RoI cache, with the reason and what to do."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.cache.checksums import (
    AGAIN,
    HEAD_DIGEST,
    LARGE,
    SUMS,
    damaged_rows,
    head_columns,
    head_digest,
    sums_of,
)
from maskx_pipeline.cache.hdf5_file import open_hdf5, what_is_wrong
from maskx_pipeline.cache.links import FORMAT_HINT, check_written, find_dataset
from maskx_pipeline.cache.schema import (
    FEATURE_DTYPES,
    FORMAT,
    GROUP_PATHS,
    OWN_MASK,
    SCHEMA_VERSION,
    TEACHER_MASK,
    CacheIdentity,
    Dimensions,
)
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.there import EXPORT_HINT, require_cache


def open_cache_file(path: Path) -> Any:
    """Open a finished cache for reading; returns the h5py.File.

    Raises:
        CacheError: The file is missing, unfinished, truncated, no HDF5, no RoI cache, or of another version.
    """
    require_cache(path)
    try:
        file = open_hdf5(path, "r")
    except BlockingIOError as error:
        raise being_written(path) from error
    except OSError as error:
        hint = AGAIN if error.errno is None else "see that it can be read"
        raise CacheError(f"{path} {what_is_wrong(error)}.", hint) from error
    try:
        _check_header(file, path)
    except BaseException:
        file.close()
        raise
    return file


def read_identity(file: Any, path: Path) -> CacheIdentity:
    """What a cache was made from.

    Raises:
        CacheError: The attributes that say so are missing or broken.
    """
    try:
        return CacheIdentity.from_attributes(file.attrs)
    except KeyError as error:
        raise CacheError(f"{path} does not say what it was made from: {error.args[0]}.", FORMAT_HINT) from error
    except (ValueError, TypeError) as error:
        raise CacheError(f"{path} does not say what it was made from: {error}.", FORMAT_HINT) from error


def read_sizes(file: Any, path: Path) -> Dimensions:
    """Check that every dataset exists and has the right type and shape, and read the sizes C, S, M and the type.

    Raises:
        CacheError: The first dataset that is wrong.
    """
    mask_size = file.attrs.get("mask_size")
    if not isinstance(mask_size, int | np.integer) or mask_size < 1:
        raise CacheError(f"{path}: the attribute mask_size is {mask_size}, not a whole number.", FORMAT_HINT)
    features = _dataset(file, "train/features", path)
    if features.ndim != 4 or features.shape[2] != features.shape[3]:
        raise CacheError(f"{path}: train/features has shape {features.shape}, not [N, C, S, S].", FORMAT_HINT)
    names = [name for name, dtype in FEATURE_DTYPES.items() if features.dtype == dtype]
    if not names:
        raise CacheError(
            f"{path}: train/features has type {features.dtype}, not {' or '.join(FEATURE_DTYPES)}.", FORMAT_HINT
        )
    colours = find_dataset(file, "train/colours", path, virtual=True) is not None
    dimensions = Dimensions(int(features.shape[1]), int(features.shape[2]), int(mask_size), names[0], colours)
    for group, group_path in GROUP_PATHS.items():
        rows = len(_dataset(file, f"{group_path}/features", path))
        for name, (dtype, shape) in dimensions.columns(group).items():
            _check_dataset(file, f"{group_path}/{name}", path, dtype, (rows, *shape))
    count = _dataset(file, "categories/id", path).size
    if h5py.check_string_dtype(_dataset(file, "categories/name", path).dtype) is None:
        raise CacheError(f"{path}: categories/name does not hold text.", FORMAT_HINT)
    for name, kind, wide in (
        ("id", "<i8", False), ("name", None, False), ("w_cls", "<f4", True), ("b_cls", "<f4", False),
        ("w_box", "<f4", True), ("b_box", "<f4", True),
    ):  # fmt: skip
        given = _dataset(file, f"categories/{name}", path).shape
        width = given[-1] if given else 0
        shape = (count, width) if wide else (count,)
        _check_dataset(file, f"categories/{name}", path, None if kind is None else np.dtype(kind), shape)
    return dimensions


def check_rows(columns: Mapping[str, NDArray[Any]], *, path: Path, group: str, num_classes: int) -> None:
    """Check the values of a group's columns.

    Raises:
        CacheError: A label outside 1..K, a box that is not finite or turned round, an object's box without area, or a
            has_mask that is neither 0, 1 nor, in train, 2 (a mask by a teacher).
    """
    boxes = columns["boxes"]
    objects = columns.get("object_boxes", np.zeros((0, 4), dtype=np.float32))
    for name, sound, rule in (
        ("labels", (columns["labels"] >= 1) & (columns["labels"] <= num_classes), f"; labels are 1 to {num_classes}"),
        (
            "boxes",
            _are_finite(boxes) & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1),
            "; boxes are x1, y1, x2, y2 in pixels",
        ),
        (
            "object_boxes",
            _are_finite(objects) & (objects[:, 2:] > objects[:, :2]).all(axis=1),
            "; an object's box is x1, y1, x2, y2 in pixels and has an area",
        ),
        (
            "has_mask",
            columns.get("has_mask", np.zeros(0, dtype=np.uint8)) <= (TEACHER_MASK if group == "train" else OWN_MASK),
            ", not 0, 1 or 2" if group == "train" else ", not 0 or 1",
        ),
    ):
        if len(wrong := np.flatnonzero(~sound)):
            value = columns[name][wrong[0]].tolist()
            raise CacheError(f"{path}: {group}/{name}[{wrong[0]}] is {value}{rule}.", FORMAT_HINT)


def read_sums(file: Any, group: str, columns: Mapping[str, NDArray[Any]], path: Path) -> NDArray[np.uint64] | None:
    """The sums of a group's rows, those of its small columns checked; None in a cache that another program wrote.

    Raises:
        CacheError: A row is not what was written.
    """
    dataset = find_dataset(file, f"{group}/{SUMS}", path)
    if dataset is None:
        return None
    _check_dataset(file, f"{group}/{SUMS}", path, np.dtype("<u8"), (len(columns["boxes"]), 3))
    sums: NDArray[np.uint64] = dataset[...]
    wrong = np.flatnonzero(sums_of(columns) != sums[:, 0]).tolist()
    if wrong:
        raise damaged_rows(path, f"boxes, labels, ids or targets of {group}", wrong)
    return sums


def read_head(file: Any, path: Path) -> dict[str, NDArray[Any]]:
    """The datasets of the categories, read once, and checked with the attributes by their digest, if there is one.

    Raises:
        CacheError: They are not what was written, or the class weights are no numbers.
    """
    columns = head_columns(file)
    if HEAD_DIGEST in file.attrs and file.attrs[HEAD_DIGEST] != head_digest(file, columns):
        raise CacheError(f"{path} is damaged: its attributes or categories are not what was written.", AGAIN)
    for name in ("w_cls", "b_cls", "w_box", "b_box"):
        if not np.isfinite(columns[name]).all():
            raise CacheError(
                f"{path}: categories/{name} are not finite numbers.",
                "the detector's training has diverged: train it again with a lower --lr, and export again",
            )
    return columns


def check_scales(scales: NDArray[np.float32], rows: NDArray[np.int64], path: Path) -> None:
    """Check the scales [n, C] of these rows of train.

    Raises:
        CacheError: One is not finite.
    """
    wrong = np.flatnonzero(~_are_finite(scales))
    if len(wrong):
        raise CacheError(f"{path}: train/feature_scales[{rows[wrong[0]]}] is not finite.", FORMAT_HINT)


def check_not_written(path: Path) -> None:
    """See that no process is writing a cache, before it is removed.

    Raises:
        CacheError: One is.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # HDF5 holds an exclusive lock while it writes
        except BlockingIOError as error:
            raise being_written(path) from error
        except OSError:  # a file system without locks
            return


def being_written(path: Path) -> CacheError:
    """The error for a cache that a process is writing."""
    return CacheError(f"{path} is being written by another process.", "wait for it, or give another --out")


def _check_header(file: Any, path: Path) -> None:
    attributes = file.attrs
    if attributes.get("format") != FORMAT:
        raise CacheError(
            f"{path} is an HDF5 file, but no RoI cache: its attribute `format` is not {FORMAT}.", FORMAT_HINT
        )
    version = attributes.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CacheError(
            f"{path} has schema version {version}; this maskx reads version {SCHEMA_VERSION}.",
            "run `maskx export-embeddings --overwrite`, or use the maskx that wrote it",
        )
    if not attributes.get("complete"):
        raise CacheError(f"{path} is not finished: its attribute `complete` is not set.", EXPORT_HINT)


def _dataset(file: Any, name: str, path: Path) -> Any:
    dataset = find_dataset(file, name, path, virtual=name.rpartition("/")[2] in LARGE)
    if dataset is None:
        raise CacheError(f"{path}: the dataset {name} is missing.", FORMAT_HINT)
    return dataset


def _check_dataset(file: Any, name: str, path: Path, dtype: np.dtype[Any] | None, shape: tuple[int, ...]) -> None:
    dataset = _dataset(file, name, path)
    check_written(dataset, name, path)
    if dataset.shape != shape:
        raise CacheError(f"{path}: {name} has shape {dataset.shape}, not {shape}.", FORMAT_HINT)
    if dtype is not None and dataset.dtype != dtype:
        raise CacheError(f"{path}: {name} has type {dataset.dtype}, not {dtype}.", FORMAT_HINT)


def _are_finite(rows: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.isfinite(rows).all(axis=1)
    return finite
