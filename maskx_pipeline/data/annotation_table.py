"""The sound annotations of a data set: numbers in columns, and a record of each made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, overload

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.masks import mask_is_absent

_DENSE = 64  # COCO's image ids go up to five times the number of images


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object; box in pixels, inside the image; ``segmentation`` is None where the mask is absent.

    Attributes:
        taught: Its mask, if it was read at all, was made by a teacher.
    """

    id: int
    image_id: int
    label: int
    box_xyxy: tuple[float, float, float, float]
    area: float
    iscrowd: bool
    segmentation: object | None
    taught: bool = False

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to train on or to measure against."""
        return not mask_is_absent(self.segmentation)


class Entries(Protocol):
    """What the file says of the annotations, by their row; of a large file read from it when it is asked for."""

    def __getitem__(self, row: int, /) -> Mapping[str, Any]:
        """All its keys; ``segmentation`` at least where a mask is not absent."""


@dataclass(eq=False, repr=False, kw_only=True)
class AnnotationTable(Sequence[Annotation]):
    """All annotations, in the order of the file; a sequence of records, or columns for what concerns all of them.

    Attributes:
        ids: int64[M].
        image_ids: int64[M].
        labels: int32[M], 1..K.
        boxes_xyxy: float64[M, 4], in pixels, inside the image.
        boxes_xywh: float64[M, 4], in pixels, as in the file: COCO's evaluation measures boxes unclipped.
        areas: float64[M], in square pixels.
        iscrowd: bool[M].
        has_mask: bool[M].
        taught: bool[M], whether the file says that a teacher made the mask; it may be read (to train on) or not.
        extents: float32[M, 5]: x1, y1, x2, y2 in pixels of the box around the mask, and the share of the mask, 0..1,
            that is in ``boxes_xywh``; NaN where there is no mask, and in a table of records.
    """

    ids: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    boxes_xyxy: NDArray[np.float64]
    boxes_xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    iscrowd: NDArray[np.bool_]
    has_mask: NDArray[np.bool_]
    taught: NDArray[np.bool_]
    extents: NDArray[np.float32]
    entries: Entries

    @classmethod
    def of(cls, annotations: Sequence[Annotation]) -> Self:
        """A table of records."""
        boxes = np.array([a.box_xyxy for a in annotations], dtype=np.float64).reshape(-1, 4)
        return cls(
            ids=np.array([a.id for a in annotations], dtype=np.int64),
            image_ids=np.array([a.image_id for a in annotations], dtype=np.int64),
            labels=np.array([a.label for a in annotations], dtype=np.int32),
            boxes_xyxy=boxes,
            boxes_xywh=np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]),
            areas=np.array([a.area for a in annotations], dtype=np.float64),
            iscrowd=np.array([a.iscrowd for a in annotations], dtype=bool),
            has_mask=np.array([a.has_mask for a in annotations], dtype=bool),
            taught=np.array([a.taught for a in annotations], dtype=bool),
            extents=np.full((len(annotations), 5), np.nan, dtype=np.float32),
            entries=[{"segmentation": a.segmentation} for a in annotations],
        )

    def __len__(self) -> int:
        """The number of annotations."""
        return len(self.ids)

    @overload
    def __getitem__(self, row: int) -> Annotation: ...

    @overload
    def __getitem__(self, row: slice) -> list[Annotation]: ...

    def __getitem__(self, row: int | slice) -> Annotation | list[Annotation]:
        """One record; several for a slice."""
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        x1, y1, x2, y2 = self.boxes_xyxy[row].tolist()
        return Annotation(
            id=int(self.ids[row]),
            image_id=int(self.image_ids[row]),
            label=int(self.labels[row]),
            box_xyxy=(x1, y1, x2, y2),
            area=float(self.areas[row]),
            iscrowd=bool(self.iscrowd[row]),
            segmentation=self.entries[row]["segmentation"] if self.has_mask[row] else None,
            taught=bool(self.taught[row]),
        )

    def __iter__(self) -> Iterator[Annotation]:
        """One record after the other."""
        return (self[row] for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether all records are equal, masks included."""
        if not isinstance(other, AnnotationTable):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def look_up(keys: NDArray[np.int64], known: NDArray[np.int64], values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The value of each key; 0 where there is none.

    Args:
        keys: int64[M], in any order.
        known: int64[N], each once.
        values: int32[N], those of ``known``.
    """
    if not len(known):
        return np.zeros(len(keys), dtype=np.int32)
    first, last = int(known.min()), int(known.max())
    if last - first < _DENSE * len(known):  # a table is several times as fast as searching
        table = np.zeros(last - first + 1, dtype=np.int32)
        table[known - first] = values
        inside = (keys >= first) & (keys <= last)
        return np.where(inside, table[np.where(inside, keys, first) - first], 0)
    order = np.argsort(known)
    places = order[np.searchsorted(known, keys, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[places] == keys, values[places], 0)
