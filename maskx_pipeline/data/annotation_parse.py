"""The fast way through an annotation file: typed decoding, a few thousand entries at a time."""

from __future__ import annotations

import codecs
import gc
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.annotation_columns import (
    CROWD,
    MASKED,
    TAUGHT,
    AnnotationColumns,
    EntriesInText,
    FileBytes,
    categories_of,
    judge_mask,
)
from maskx_pipeline.data.mask_extents import extents_of_polygons
from maskx_pipeline.data.masks import is_from_teacher
from maskx_pipeline.data.polygon_area import SHORTEST_POLYGON, SURELY_SOME

_CHUNK = 512
_NO_BOX = [math.nan] * 4

_Decode = Callable[[msgspec.Raw], list[list[float]]]


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float | None = None
    iscrowd: bool | int | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")  # its bounds depend on the image
    mask_source: Any = None


class _File(msgspec.Struct, gc=False):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[msgspec.Raw]


def parse_annotations(raw: bytes, *, source: bytes | FileBytes) -> AnnotationColumns | None:
    """Parse a file in which everything has the type that COCO gives it.

    Args:
        source: Where its entries are read again later.

    Returns:
        Its columns; None for a file that is anything but plain, which is for `columns_of_lists` to read or to refuse.
    """
    start = len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
    try:
        if not raw.isascii():
            raw.decode("utf-8")  # msgspec does not look at the text it skips
        with _without_gc():
            content = msgspec.json.decode(memoryview(raw)[start:], type=_File)
            return _columns_of(content, raw, source) if content.categories else None
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError, RecursionError):
        return None


def _columns_of(content: _File, raw: bytes, source: bytes | FileBytes) -> AnnotationColumns:
    images = _rows(*([getattr(image, key) for image in content.images] for key in ("id", "width", "height")))
    sizes = _ImageSizes(images)
    polygons = _PolygonDecoders()
    decode = msgspec.json.Decoder(_Annotation).decode
    numbers, boxes, areas, flags = [_rows([], [], [])], [np.empty((4, 0))], [np.empty(0)], [np.empty(0, np.uint8)]
    extents = [np.empty((5, 0), np.float32)]
    for begin in range(0, len(content.annotations), _CHUNK):
        chunk = [decode(text) for text in content.annotations[begin : begin + _CHUNK]]
        numbers.append(_rows([a.id for a in chunk], [a.image_id for a in chunk], [a.category_id for a in chunk]))
        sides = chain.from_iterable([a.bbox if len(a.bbox) == 4 else _NO_BOX for a in chunk])
        boxes.append(np.fromiter(sides, np.float64, 4 * len(chunk)).reshape(-1, 4).T)
        areas.append(np.array([math.nan if a.area is None else a.area for a in chunk]))
        masks, places = _judge_masks([a.segmentation for a in chunk], boxes[-1], sizes, numbers[-1][1], polygons)
        others = [(CROWD if a.iscrowd else 0) | (TAUGHT if is_from_teacher(a.mask_source) else 0) for a in chunk]
        flags.append(masks | np.array(others, np.uint8))
        extents.append(places)
    starts, lengths = _places(content.annotations, raw)
    return AnnotationColumns(
        digest=hashlib.sha256(raw).hexdigest(),
        categories=categories_of([(category.id, category.name) for category in content.categories]),
        file_names=[image.file_name for image in content.images],
        images=images,
        numbers=np.concatenate(numbers, axis=1),
        boxes_xywh=np.concatenate(boxes, axis=1),
        areas=np.concatenate(areas),
        flags=np.concatenate(flags),
        extents=np.concatenate(extents, axis=1),
        entries=EntriesInText(source, starts, lengths),
    )


class _ImageSizes:
    """Sizes by image id, looked up for a chunk of annotations at once.

    A dictionary of all images is too large for the processor's caches; asked for each annotation, it takes longer than
    decoding the annotation's polygons.

    Args:
        images: int64[3, N], id, width, height; of two with the same id the first counts.

    Attributes:
        by_row: (height, width), and None at the end for an unknown image.
        reaches: int64, the longer side, and 0 at the end.
    """

    def __init__(self, images: NDArray[np.int64]) -> None:
        ids, first = np.unique(images[0], return_index=True)
        self._ids, self._padded = ids, np.append(ids, 0)
        widths, heights = images[1:, first]
        self.by_row = [*zip(heights.tolist(), widths.tolist(), strict=True), None]
        self.reaches = np.append(np.maximum(heights, widths), 0)

    def rows(self, image_ids: NDArray[np.int64]) -> NDArray[np.intp]:
        """Where images are in the attributes, the end for an unknown one."""
        rows = np.searchsorted(self._ids, image_ids)
        return np.where(self._padded[rows] == image_ids, rows, len(self._ids))


def _judge_masks(
    texts: Sequence[msgspec.Raw],
    boxes_xywh: NDArray[np.float64],
    sizes: _ImageSizes,
    image_ids: NDArray[np.int64],
    decoders: _PolygonDecoders,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """`judge_mask` of each; sound polygons are known by their decoding and by the area that they enclose."""
    rows = sizes.rows(image_ids)
    plain: list[int] = []
    decoded: list[list[list[float]]] = []
    for number, (text, reach) in enumerate(zip(texts, sizes.reaches[rows].tolist(), strict=True)):
        if (polygons := _plain_polygons(text, decoders[reach])) is not None:
            plain.append(number)
            decoded.append(polygons)
    flags = np.zeros(len(texts), np.uint8)
    extents = np.full((5, len(texts)), np.nan, np.float32)
    flags[plain] = MASKED
    extents[:, plain], areas = extents_of_polygons(decoded, boxes_xywh[:, plain])
    others = np.ones(len(texts), dtype=bool)
    others[np.array(plain, dtype=np.int64)[areas > SURELY_SOME]] = False
    for number in np.flatnonzero(others).tolist():
        flags[number], extents[:, number] = judge_mask(
            msgspec.json.decode(texts[number]), boxes_xywh[:, number].tolist(), sizes.by_row[rows[number]]
        )
    return flags, extents


def _plain_polygons(text: msgspec.Raw, decode: _Decode | None) -> list[list[float]] | None:
    """The polygons of a mask, if each has three points or more in the bounds; None for anything else."""
    if decode is None:
        return None
    try:
        polygons = decode(text)
    except msgspec.ValidationError:
        return None
    for polygon in polygons:
        if len(polygon) & 1:
            return None
    return polygons or None


def _places(texts: Sequence[msgspec.Raw], raw: bytes) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where each entry begins, and its length in bytes: between two of them there are only a comma and space."""
    lengths = np.fromiter(map(len, texts), np.int32, len(texts))
    starts = np.zeros(len(texts), dtype=np.int64)
    if not texts:
        return starts, lengths
    starts[0] = _address(texts[0]) - _address(raw)
    end = int(starts[0] + lengths[0])
    gap = raw.find(b"{", end) - end  # what is between all of them, if it is the same everywhere
    starts[1:] = starts[0] + np.cumsum(lengths[:-1] + gap, dtype=np.int64)
    content = np.frombuffer(raw, dtype=np.uint8)
    same = gap > 0 and starts[-1] == _address(texts[-1]) - _address(raw)
    if not same or any((content[starts[1:] - i] != raw[end + gap - i]).any() for i in range(gap + 1)):
        for row in range(1, len(texts)):
            starts[row] = raw.index(b"{", int(starts[row - 1] + lengths[row - 1]))
    return starts, lengths


def _address(text: bytes | msgspec.Raw) -> int:
    address: int = np.frombuffer(text, dtype=np.uint8).__array_interface__["data"][0]
    return address


def _rows(*rows: list[int]) -> NDArray[np.int64]:
    return np.stack([np.array(row, dtype=np.int64) for row in rows])


class _PolygonDecoders(dict[int, _Decode | None]):
    """By the longer side of the image: what decodes polygons and refuses others than `segmentation_fault` lets pass.

    None where the image is unknown or has no size.
    """

    def __missing__(self, reach: int) -> _Decode | None:
        self[reach] = None
        if reach > 0:
            coordinate = Annotated[float, msgspec.Meta(ge=-reach, le=2 * reach)]
            polygon = Annotated[list[coordinate], msgspec.Meta(min_length=SHORTEST_POLYGON)]
            self[reach] = msgspec.json.Decoder(list[polygon]).decode
        return self[reach]


@contextmanager
def _without_gc() -> Iterator[None]:
    """Nothing here is garbage, and looking for it would take longer than the parsing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
