"""Which boxes of an annotation file lack a mask and can be given one, and what is left as it is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskx_pipeline.annotate.json_splice import Span, list_spans, with_members
from maskx_pipeline.data.annotation_columns import is_crowd
from maskx_pipeline.data.kinds import BROKEN_MASK
from maskx_pipeline.data.masks import mask_is_absent
from maskx_pipeline.data.records import Annotation, Category, CocoData
from maskx_pipeline.errors import DataError

_BOM = "\ufeff"


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


@dataclass(frozen=True, slots=True)
class MaskGaps:
    """The annotations that can be filled, and the text they stand in.

    Attributes:
        annotations: All annotations of the file, also those that `read_coco` drops.
        work: By image id, in the order of the file; no image without any.
        text: The file, without byte order mark.
        spans: Annotation id to its place in the text.
    """

    annotations: int
    work: Mapping[int, tuple[Annotation, ...]]
    left_alone: LeftAlone
    text: str
    had_bom: bool
    spans: Mapping[int, tuple[int, int]]

    def filled(self, changes: Mapping[int, Mapping[str, Any]]) -> bytes:
        """The file with some values of some annotations changed, and each other byte as it was.

        Args:
            changes: Annotation id to the keys and their new values.

        Returns:
            The bytes; without a byte order mark, which JSON forbids and pycocotools refuses.
        """
        pieces, at = [], 0
        for annotation_id in sorted(changes, key=lambda number: self.spans[number]):
            start, end = self.spans[annotation_id]
            pieces += [self.text[at:start], with_members(self.text[start:end], changes[annotation_id])]
            at = end
        return "".join([*pieces, self.text[at:]]).encode("utf-8", "surrogatepass")


def find_mask_gaps(data: CocoData, *, labels: Mapping[int, int]) -> MaskGaps:
    """Look for annotations without a mask; what `mask_is_absent` says of the file's own value decides.

    Args:
        labels: The model's label of each label of ``data`` that it knows.

    Raises:
        DataError: The file is not UTF-8, or has changed since it was read.
    """
    text = _read_text(data)
    spans = list(list_spans(text.removeprefix(_BOM), "annotations"))
    times = Counter(span.value["id"] for span in spans)
    problems = {problem.annotation_id: problem.kind for problem in data.problems if problem.annotation_id is not None}
    names = {category.id: category.name for category in data.categories}
    broken = {problem.annotation_id for problem in data.problems if problem.kind == BROKEN_MASK}
    sound = {annotation.id: annotation for annotation in data.annotations()}
    left = LeftAlone()
    work: dict[int, list[Annotation]] = {image.id: [] for image in data.images}
    places: dict[int, tuple[int, int]] = {}
    for span in spans:
        found = None if _is_left(span, left, broken) else sound.get(span.value["id"])
        if found is not None and times[found.id] > 1:
            left.problems["duplicate annotation id"] += 1
        elif found is not None and found.label not in labels:
            left.unknown[names[span.value["category_id"]]] += 1
        elif found is not None:
            work[found.image_id].append(found)
            places[found.id] = span.start, span.end
        elif mask_is_absent(span.value.get("segmentation")) and not is_crowd(span.value.get("iscrowd")):
            left.problems[problems.get(span.value["id"], "not read")] += 1
    return MaskGaps(
        annotations=len(spans),
        work={image_id: tuple(annotations) for image_id, annotations in work.items() if annotations},
        left_alone=left,
        text=text.removeprefix(_BOM),
        had_bom=text.startswith(_BOM),
        spans=places,
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


def _is_left(span: Span, left: LeftAlone, broken: Collection[int | None]) -> bool:
    """Count crowds and those that have a mask, sound or broken: what a person drew stays, however badly written."""
    crowd = is_crowd(span.value.get("iscrowd"))
    masked = not crowd and not mask_is_absent(span.value.get("segmentation"))
    left.crowd += crowd
    if masked and span.value["id"] in broken:
        left.problems[BROKEN_MASK] += 1
    else:
        left.masked += masked
    return crowd or masked


def _read_text(data: CocoData) -> str:
    try:
        raw = data.path.read_bytes()
    except OSError as error:
        raise DataError(f"{data.path} cannot be read: {error.strerror}.", "check the path") from error
    if hashlib.sha256(raw).hexdigest() != data.digest:
        raise DataError(f"{data.path} changed while it was read.", "run this again when nothing writes it")
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DataError(f"{data.path} is not text in UTF-8: {error}.", "save it as UTF-8") from error
