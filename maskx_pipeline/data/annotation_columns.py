"""What an annotation file says, in columns: numbers in arrays, and the entries themselves read again when asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.mask_extents import UNKNOWN, extent_of_mask, extent_of_runs
from maskx_pipeline.data.masks import is_from_teacher, mask_is_absent, segmentation_fault, sound_runs
from maskx_pipeline.errors import DataError

CROWD, MASKED, BROKEN, TAUGHT = 1, 2, 4, 8
"""Flags of an annotation. MASKED: `mask_is_absent` says no; BROKEN: `segmentation_fault` names a fault; TAUGHT:
`is_from_teacher` says yes. A mask without a pixel is BROKEN alone."""

Entry = Mapping[str, Any]


class Stamp(NamedTuple):
    """What tells, without reading it, that a file is still the one that was read; times in nanoseconds."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class AnnotationColumns:
    """An annotation file whose required keys are all there; nothing is dropped or clipped yet.

    Attributes:
        digest: SHA-256 (hex) of the file.
        categories: (id, name) of each entry.
        images: int64[3, N]: id, width, height in pixels.
        numbers: int64[3, M]: id, image id, category id of the annotations.
        boxes_xywh: float64[4, M] in pixels; NaN where the file has no four numbers.
        areas: float64[M] in square pixels; NaN where the file has no number.
        flags: uint8[M], a sum of CROWD, MASKED, BROKEN and TAUGHT; that of a mask is for the image that is named.
        extents: float32[5, M]: x1, y1, x2, y2 in pixels of the box around the mask, and the share of the mask, 0..1,
            that is in the annotation's own box; NaN without a sound mask.
    """

    digest: str
    categories: Sequence[tuple[int, str]]
    file_names: Sequence[str]
    images: NDArray[np.int64]
    numbers: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    flags: NDArray[np.uint8]
    extents: NDArray[np.float32]
    entries: Sequence[Entry]


class EntriesInText(Sequence[Entry]):
    """Entries decoded when they are asked for.

    Args:
        source: The annotation file's bytes, or the file, for what is too large to be kept.
        starts: int64[M], where the object of each entry begins.
        lengths: int32[M], its bytes.
    """

    def __init__(self, source: bytes | FileBytes, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
        self.source = source
        self.starts = starts
        self.lengths = lengths

    def __len__(self) -> int:
        """The number of annotations."""
        return len(self.starts)

    def __getitem__(self, row: Any) -> Any:
        """One entry; several for a slice."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        start, end = self.place(row)
        return msgspec.json.decode(self.source[start:end])

    def place(self, row: int) -> tuple[int, int]:
        """First byte of an entry's object, and the one after its last."""
        start = int(self.starts[row])
        return start, start + int(self.lengths[row])

    def of(self, rows: NDArray[np.intp]) -> EntriesInText:
        """Some of them."""
        return EntriesInText(self.source, self.starts[rows], self.lengths[rows])


class FileBytes:
    """A large file, read in pieces; it must stay as it was, since the digest of its content names results.

    Args:
        stamp: What it was when its entries were found.
    """

    def __init__(self, path: Path, stamp: Stamp) -> None:
        self._path = path.absolute()
        self._stamp = stamp
        self._descriptor: int | None = None

    def __getitem__(self, piece: slice) -> bytes:
        """Some bytes of the file.

        Raises:
            DataError: The file was changed or removed.
        """
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            unchanged = _is_same(self._stamp, Stamp.of(os.fstat(self._descriptor)))
            found = os.pread(self._descriptor, piece.stop - piece.start, piece.start) if unchanged else b""
        except OSError as error:
            raise DataError(f"{self._path} cannot be read any more: {error.strerror}.", "check the disk") from error
        if not unchanged:
            raise DataError(f"{self._path} was changed while it was in use.", "run this again when nothing writes it")
        return found

    def __getstate__(self) -> tuple[Path, Stamp]:
        """Without the open file, which is this process's own."""
        return self._path, self._stamp

    def __setstate__(self, state: tuple[Path, Stamp]) -> None:
        """Opened again when it is read."""
        self._path, self._stamp = state
        self._descriptor = None

    def __del__(self) -> None:
        """Close the file."""
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]


def columns_of_lists(lists: Mapping[str, Sequence[dict[str, Any]]], digest: str, path: Path) -> AnnotationColumns:
    """Columns of the file's lists, whose required keys were checked: for any file, one entry after the other.

    Raises:
        DataError: An id does not fit into 64 bits.
    """
    images, annotations = lists["images"], lists["annotations"]
    sizes = {image["id"]: (image["height"], image["width"]) for image in reversed(images)}  # the first of two
    flags, extents = [], []
    for entry in annotations:
        crowd = CROWD if is_crowd(entry.get("iscrowd")) else 0
        taught = TAUGHT if is_from_teacher(entry.get("mask_source")) else 0
        of_mask, extent = judge_mask(entry.get("segmentation"), _box(entry["bbox"]), sizes.get(entry["image_id"]))
        flags.append(crowd | taught | of_mask)
        extents.append(extent)
    try:
        return AnnotationColumns(
            digest=digest,
            categories=categories_of([(entry["id"], entry["name"]) for entry in lists["categories"]]),
            file_names=[image["file_name"] for image in images],
            images=_table([[image[key] for image in images] for key in ("id", "width", "height")]),
            numbers=_table([[entry[key] for entry in annotations] for key in ("id", "image_id", "category_id")]),
            boxes_xywh=np.array([_box(entry["bbox"]) for entry in annotations], dtype=np.float64).reshape(-1, 4).T,
            areas=np.array([number(entry.get("area")) for entry in annotations], dtype=np.float64),
            flags=np.array(flags, dtype=np.uint8),
            extents=np.array(extents, dtype=np.float32).reshape(-1, 5).T,
            entries=annotations,
        )
    except OverflowError as error:
        raise DataError(
            f"{path} has an id or a size that does not fit into 64 bits.", "number images and annotations anew"
        ) from error


def categories_of(entries: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The categories; OverflowError where an id does not fit into 64 bits."""
    np.array([number for number, _ in entries], dtype=np.int64)
    return entries


def judge_mask(
    segmentation: object, box_xywh: Sequence[float], size: tuple[int, int] | None
) -> tuple[int, Sequence[float] | NDArray[np.float32]]:
    """MASKED and BROKEN of one mask in an image of (height, width), and where it lies, as in the columns.

    Of an unknown image nothing is broken.
    """
    if isinstance(segmentation, dict) and size is not None:
        runs = sound_runs(segmentation, *size)  # looked for once, since it takes longer than all else
        if runs is not None:
            return MASKED, extent_of_runs(runs, box_xywh, size)
    absent = mask_is_absent(segmentation)
    if size is None or segmentation is None:
        return 0 if absent else MASKED, UNKNOWN
    if segmentation_fault(segmentation, height=size[0], width=size[1]) is not None:
        return (0 if absent else MASKED) | BROKEN, UNKNOWN
    return (0, UNKNOWN) if absent else (MASKED, extent_of_mask(segmentation, box_xywh, size))


def is_crowd(value: object) -> bool:
    """Whether ``iscrowd`` says so; some tools write it as text, and "0" is 0."""
    return value.strip().lower() not in ("", "0", "0.0", "false", "no") if isinstance(value, str) else bool(value)


def number(value: object) -> float:
    """NaN for what is no number."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


def _is_same(before: Stamp, now: Stamp) -> bool:
    """A file that was replaced by renaming keeps its content for those who have it open; only its ctime moves."""
    return before._replace(ctime_ns=0) == now._replace(ctime_ns=0)


def _box(sides: Sequence[object]) -> list[float]:
    return [number(side) for side in sides] if len(sides) == 4 else [math.nan] * 4


def _table(columns: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.stack([np.array(column, dtype=np.int64) for column in columns])
