"""Which boxes of an annotation file lack a mask and can be given one, and what is left as it is."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.annotate.json_splice import list_spans, with_members
from maskx_pipeline.annotate.null_masks import ByteStream
from maskx_pipeline.data.annotation_columns import CROWD, MASKED, AnnotationColumns, EntriesInText
from maskx_pipeline.data.annotation_file import read_annotation_columns
from maskx_pipeline.data.annotation_table import look_up
from maskx_pipeline.data.kinds import BROKEN_MASK
from maskx_pipeline.data.records import Annotation, AnnotationTable, Category, CocoData
from maskx_pipeline.errors import DataError

_PIECE = 1 << 20  # bytes copied at once


@dataclass(slots=True)
class LeftAlone:
    """How many annotations are not to be filled, and why.

    Attributes:
        unknown: By the name of a category that the model does not know.
        problems: By what is wrong with the annotation, as `read_coco` names it.
    """

    masked: int = 0
    crowd: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)


class Gaps(Mapping[int, tuple[Annotation, ...]]):
    """By image id, in the order of the file: the annotations to fill, made when they are asked for."""

    def __init__(self, table: AnnotationTable, rows: Mapping[int, NDArray[np.intp]]) -> None:
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        """The number of images with any."""
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        """The ids of these images."""
        return iter(self._rows)

    def __getitem__(self, image_id: int) -> tuple[Annotation, ...]:
        """Those of one image, in the order of the file."""
        return tuple(self._table[row] for row in self._rows[image_id].tolist())


@dataclass(frozen=True, slots=True)
class MaskGaps:
    """The annotations that can be filled, and where they stand in the file.

    Attributes:
        annotations: All annotations of the file, also those that `read_coco` drops.
        work: No image without any.
        entries: The annotations of ``rows`` as text.
        rows: Of the data's table, int64, in the order of the file.
    """

    annotations: int
    work: Gaps
    left_alone: LeftAlone
    had_bom: bool
    entries: EntriesInText
    rows: NDArray[np.intp]

    def write(self, stream: ByteStream, changes: Callable[[int], Mapping[str, Any] | None]) -> None:
        """Write the file with some values of some annotations changed, and each other byte as it was.

        A byte order mark is left out, which JSON forbids and pycocotools refuses.

        Args:
            changes: From a row to the keys and their new values; None leaves an annotation as it is. Asked for one row
                after the other.
        """
        at = len(codecs.BOM_UTF8) if self.had_bom else 0
        for number, row in enumerate(self.rows.tolist()):
            changed = changes(row)
            if changed is not None:
                start, end = self.entries.place(number)
                self._copy(stream, at, start)
                text = self.entries.source[start:end].decode("utf-8", "surrogatepass")
                stream.write(with_members(text, changed).encode("utf-8", "surrogatepass"))
                at = end
        self._copy(stream, at, None)

    def _copy(self, stream: ByteStream, start: int, end: int | None) -> None:
        while end is None or start < end:
            piece = self.entries.source[start : start + _PIECE if end is None else min(end, start + _PIECE)]
            if not piece:
                return
            stream.write(piece)
            start += len(piece)


def find_mask_gaps(data: CocoData, *, labels: Mapping[int, int]) -> MaskGaps:
    """Look for annotations without a mask; what `mask_is_absent` says of the file's own value decides.

    Of a large file little is held in memory: columns of numbers, and where its annotations stand.

    Args:
        labels: The model's label of each label of ``data`` that it knows.

    Raises:
        DataError: The file is not UTF-8, or has changed since it was read.
    """
    columns = _columns_again(data)
    entries = columns.entries if isinstance(columns.entries, EntriesInText) else _entries_of_text(data)
    table, ids = data.annotations(), columns.numbers[0]
    left = LeftAlone()
    open_rows = _without_mask(data, columns, left)
    found = look_up(ids[open_rows], table.ids, np.arange(1, len(table) + 1, dtype=np.int32)) - 1
    problems = {problem.annotation_id: problem.kind for problem in data.problems if problem.annotation_id is not None}
    left.problems.update(problems.get(number, "not read") for number in ids[open_rows[found < 0]].tolist())
    open_rows, found = open_rows[found >= 0], found[found >= 0]
    alone = ~_repeated(ids)[open_rows]
    if not alone.all():
        left.problems["duplicate annotation id"] += int((~alone).sum())
    known = np.isin(table.labels[found], list(labels))
    names = {category.id: category.name for category in data.categories}
    left.unknown.update(names[number] for number in columns.numbers[2, open_rows[alone & ~known]].tolist())
    open_rows, rows = open_rows[alone & known], found[alone & known].astype(np.intp)
    return MaskGaps(
        annotations=len(ids),
        work=Gaps(table, _by_image(data, rows)),
        left_alone=left,
        had_bom=entries.source[0 : len(codecs.BOM_UTF8)] == codecs.BOM_UTF8,
        entries=entries.of(open_rows),
        rows=rows,
    )


def labels_by_name(categories: Sequence[Category], model: Sequence[Category]) -> dict[int, int]:
    """Match categories by their name: label of ``categories`` to label of the model's, where it has the name.

    Where two categories of the model have one name, the id must be the same too.
    """
    times = Counter(category.name for category in model)
    by_name = {category.name: category.label for category in model if times[category.name] == 1}
    by_both = {(category.name, category.id): category.label for category in model}
    found = ((c.label, by_both.get((c.name, c.id), by_name.get(c.name))) for c in categories)
    return {label: known for label, known in found if known is not None}


def _columns_again(data: CocoData) -> AnnotationColumns:
    try:
        columns = read_annotation_columns(data.path)
    except DataError:
        columns = None
    if columns is None or columns.digest != data.digest:
        raise DataError(f"{data.path} changed while it was read.", "run this again when nothing writes it")
    return columns


def _without_mask(data: CocoData, columns: AnnotationColumns, left: LeftAlone) -> NDArray[np.intp]:
    """The rows of the file that have none, in its order.

    Crowds and masks are counted, sound ones or broken ones: what a person drew stays, however badly written.
    """
    crowd = (columns.flags & CROWD) > 0
    masked = (columns.flags & MASKED) > 0
    left.crowd = int(crowd.sum())
    broken = [p.annotation_id for p in data.problems if p.kind == BROKEN_MASK and p.annotation_id is not None]
    is_broken = masked & ~crowd & np.isin(columns.numbers[0], np.array(broken, dtype=np.int64))
    if is_broken.any():
        left.problems[BROKEN_MASK] = int(is_broken.sum())
    left.masked = int((masked & ~crowd & ~is_broken).sum())
    return np.flatnonzero(~crowd & ~masked)


def _by_image(data: CocoData, rows: NDArray[np.intp]) -> dict[int, NDArray[np.intp]]:
    """The rows of each image that has any, images and rows in the order of the file."""
    ids = np.fromiter((image.id for image in data.images), np.int64, len(data.images))
    places = look_up(data.annotations().image_ids[rows], ids, np.arange(len(ids), dtype=np.int32))
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    parts = np.split(rows[order], starts[1:]) if len(rows) else []
    return dict(zip(ids[places[order[starts]]].tolist(), parts, strict=True))


def _repeated(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    unique, times = np.unique(ids, return_counts=True)
    return np.isin(ids, unique[times > 1])


def _entries_of_text(data: CocoData) -> EntriesInText:
    """Where the annotations stand in a file that has a value of another type than COCO's; its text is held."""
    try:
        raw = data.path.read_bytes()
    except OSError as error:
        raise DataError(f"{data.path} cannot be read: {error.strerror}.", "check the path") from error
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError(f"{data.path} is not text in UTF-8: {error}.", "save it as UTF-8") from error
    bom = int(text.startswith("\ufeff"))
    ends = [0]
    for span in list_spans(text[bom:], "annotations"):
        ends += [span.start + bom, span.end + bom]
    if not raw.isascii():  # from characters to bytes
        ends = list(accumulate(len(text[a:b].encode("utf-8", "surrogatepass")) for a, b in pairwise([0, *ends])))
    starts = np.array(ends[1::2], dtype=np.int64)
    return EntriesInText(raw, starts, (np.array(ends[2::2], dtype=np.int64) - starts).astype(np.int32))
