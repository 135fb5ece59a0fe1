"""What a data set consists of after reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.annotation_table import Annotation, AnnotationTable, look_up
from maskx_pipeline.errors import DataError
from maskx_pipeline.text import shown

__all__ = ["Annotation", "AnnotationTable", "Category", "CocoData", "ImageRecord", "Problem"]


@dataclass(frozen=True, slots=True)
class Category:
    """A category: COCO's sparse ``id`` and the contiguous ``label`` 1..K."""

    id: int
    name: str
    label: int


def categories_to_json(categories: Iterable[Category]) -> list[dict[str, Any]]:
    """The categories of a model as run.json holds them, in the order of their labels."""
    return [{"id": category.id, "name": category.name} for category in categories]


def categories_from_json(entries: Iterable[Mapping[str, Any]]) -> tuple[Category, ...]:
    """The inverse of `categories_to_json`.

    Raises:
        KeyError, TypeError: It is something else.
    """
    named = [(entry["id"], shown(str(entry["name"]))) for entry in entries]
    if not all(isinstance(number, int) for number, _ in named):
        raise TypeError("a category id is no whole number")
    return tuple(Category(number, name, label) for label, (number, name) in enumerate(named, start=1))


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as the annotation file describes it; width and height in pixels."""

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the data that reading it could work around; ``action`` says how."""

    kind: str
    message: str
    action: str
    annotation_id: int | None
    image_id: int | None
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """How many entries the annotation file has, before any is dropped; ``masks`` counts broken ones too."""

    images: int
    annotations: int
    masks: int


class CocoData:
    """A data set after reading: sound images and annotations, and what was wrong with the rest.

    Args:
        image_dir: The folder that ``file_name`` is relative to.
        categories: By ascending label, 1..K.
        images: In the order of the file, also those without objects.
        annotations: In the order of the file, crowds included.
        digest: SHA-256 (hex) of the annotation file.
        listed: What the file lists; as much as is here, if not given.
        labels_in_file: The label of each category id of the file; that of ``categories`` if not given.
    """

    def __init__(
        self,
        *,
        path: Path,
        image_dir: Path,
        categories: tuple[Category, ...],
        images: tuple[ImageRecord, ...],
        annotations: Sequence[Annotation],
        problems: tuple[Problem, ...] = (),
        digest: str = "",
        listed: Listed | None = None,
        labels_in_file: Mapping[int, int] | None = None,
    ) -> None:
        self.path = path
        self.image_dir = image_dir
        self.categories = categories
        self.images = images
        self.problems = problems
        self.digest = digest
        self._annotations = annotations if isinstance(annotations, AnnotationTable) else AnnotationTable.of(annotations)
        self.listed = listed or Listed(len(images), len(annotations), int(self._annotations.has_mask.sum()))
        self._places = {image.id: place for place, image in enumerate(images)}
        self._labels = {category.id: category.label for category in categories}
        self.labels_in_file = self._labels if labels_in_file is None else dict(labels_in_file)
        ids = np.fromiter(self._places, np.int64, len(images))
        owners = look_up(self._annotations.image_ids, ids, np.arange(1, len(ids) + 1, dtype=np.int32))
        if not owners.all():
            raise DataError(f"{path}: an annotation is of an image that is not among the images.")
        # Grouped by image, in the order of the file: one sort of numbers is faster than a stable argsort.
        keys = np.sort((owners.astype(np.int64) << 32) | np.arange(len(owners)))
        self._order = (keys & 0xFFFFFFFF).astype(np.int32)
        self._ends = np.cumsum(np.bincount(owners, minlength=len(ids) + 1))

    @property
    def num_classes(self) -> int:
        """K, the number of categories, without the background."""
        return len(self.categories)

    def annotations(self) -> AnnotationTable:
        """All annotations in the order of the file, crowds included: a sequence, and columns of their numbers."""
        return self._annotations

    def annotations_of(self, image_id: int) -> tuple[Annotation, ...]:
        """The annotations of one image in the order of the file, crowds included."""
        return tuple(self._annotations[row] for row in self.rows_of(image_id).tolist())

    def rows_of(self, image_id: int) -> NDArray[np.int32]:
        """The rows of the annotations of one image in the columns of :meth:`annotations`."""
        place = self._places[image_id]
        return self._order[self._ends[place] : self._ends[place + 1]]

    def category(self, label: int) -> Category:
        """The category of a label 1..K."""
        if not 1 <= label <= len(self.categories):
            raise DataError(f"{self.path} has labels 1 to {len(self.categories)}, and {label} was asked for.")
        return self.categories[label - 1]

    def label_of_id(self, category_id: int) -> int:
        """The label of COCO's category id."""
        if category_id not in self._labels:
            raise DataError(f"{self.path} has no category with id {category_id}.")
        return self._labels[category_id]

    def image(self, image_id: int) -> ImageRecord:
        """The record of one image."""
        if image_id not in self._places:
            raise DataError(f"{self.path} has no image with id {image_id}.")
        return self.images[self._places[image_id]]

    def image_path(self, image_id: int) -> Path:
        """Where the image file lies."""
        return self.image_dir / self.image(image_id).file_name
