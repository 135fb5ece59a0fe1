"""What a data set consists of after reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskx_pipeline.data.masks import mask_is_absent
from maskx_pipeline.errors import DataError


@dataclass(frozen=True, slots=True)
class Category:
    """A category: COCO's sparse ``id`` and the contiguous ``label`` 1..K."""

    id: int
    name: str
    label: int


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as the annotation file describes it; width and height in pixels."""

    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object; box in pixels, inside the image; ``segmentation`` is None where the mask is absent."""

    id: int
    image_id: int
    label: int
    box_xyxy: tuple[float, float, float, float]
    area: float
    iscrowd: bool
    segmentation: object | None

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to train on or to measure against."""
        return not mask_is_absent(self.segmentation)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the data that reading it could work around; ``action`` says how."""

    kind: str
    message: str
    action: str
    annotation_id: int | None
    image_id: int | None


class CocoData:
    """A data set after reading: sound images and annotations, and what was wrong with the rest.

    Args:
        path: The annotation file.
        image_dir: The folder that ``file_name`` is relative to.
        categories: By ascending label, 1..K.
        images: In the order of the file, also those without objects.
        annotations: In the order of the file, crowds included.
        problems: What was dropped or changed.
        digest: SHA-256 (hex) of the annotation file.
    """

    def __init__(
        self,
        *,
        path: Path,
        image_dir: Path,
        categories: tuple[Category, ...],
        images: tuple[ImageRecord, ...],
        annotations: tuple[Annotation, ...],
        problems: tuple[Problem, ...] = (),
        digest: str = "",
    ) -> None:
        self.path = path
        self.image_dir = image_dir
        self.categories = categories
        self.images = images
        self.problems = problems
        self.digest = digest
        self._annotations = annotations
        self._images = {image.id: image for image in images}
        self._labels = {category.id: category.label for category in categories}
        grouped: dict[int, list[Annotation]] = {image.id: [] for image in images}
        for annotation in annotations:
            grouped[annotation.image_id].append(annotation)
        self._by_image = {image_id: tuple(group) for image_id, group in grouped.items()}

    @property
    def num_classes(self) -> int:
        """K, the number of categories, without the background."""
        return len(self.categories)

    def annotations(self) -> tuple[Annotation, ...]:
        """All annotations in the order of the file, crowds included."""
        return self._annotations

    def annotations_of(self, image_id: int) -> tuple[Annotation, ...]:
        """The annotations of one image in the order of the file, crowds included."""
        return self._by_image[image_id]

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
        if image_id not in self._images:
            raise DataError(f"{self.path} has no image with id {image_id}.")
        return self._images[image_id]

    def image_path(self, image_id: int) -> Path:
        """Where the image file lies."""
        return self.image_dir / self.image(image_id).file_name
