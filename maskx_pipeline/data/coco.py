"""Reading a COCO-format data set in which a mask may be absent."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from maskx_pipeline.data.annotation_file import read_annotation_file
from maskx_pipeline.data.masks import mask_is_absent, segmentation_fault
from maskx_pipeline.data.records import Annotation, Category, CocoData, ImageRecord, Problem
from maskx_pipeline.errors import DataError

__all__ = [
    "Annotation", "Category", "CocoData", "ImageRecord", "Problem", "count_problems", "log_problems", "read_coco",
]  # fmt: skip

_LOG = logging.getLogger("maskx")

_SMALLEST_SIDE = 0.01
"""Pixels. A thinner box has no area left in float32, and Faster R-CNN refuses it."""

_ROUNDING = 1.0
"""Pixels. COCO's own tools round boxes to this; less than it outside the image is clipped without a word."""


def read_coco(
    annotation_file: Path,
    image_dir: Path,
    *,
    categories: tuple[Category, ...] | None = None,
    check_files: bool = True,
) -> CocoData:
    """Read a COCO-format annotation file, working around what can be worked around.

    Args:
        annotation_file: JSON with the lists images, categories and annotations.
        image_dir: Folder of the images.
        categories: The categories to read it with: validation data are read with those of training, since labels must
            mean the same. None makes labels from the file, by ascending id.
        check_files: Whether to look that each image file exists.

    Returns:
        The sound part of the data; ``problems`` says what was dropped or changed.

    Raises:
        DataError: The file or the folder cannot be used at all, or its categories disagree with those given.
    """
    return _Reader(annotation_file, image_dir, categories=categories, check_files=check_files).read()


def log_problems(data: CocoData) -> None:
    """Warn about the problems of a data set: a line for each kind, with what was done about it."""
    for (kind, action), count in count_problems(data.problems).items():
        first = next(problem for problem in data.problems if (problem.kind, problem.action) == (kind, action))
        _LOG.warning("%s: %d x %s: %s; the first: %s", data.path, count, kind, action, first.message)


def count_problems(problems: Iterable[Problem]) -> Counter[tuple[str, str]]:
    """How many problems there are of each (kind, action)."""
    return Counter((problem.kind, problem.action) for problem in problems)


class _Reader:
    """Reads one annotation file; see `read_coco` for the arguments."""

    def __init__(
        self, path: Path, image_dir: Path, *, categories: tuple[Category, ...] | None, check_files: bool
    ) -> None:
        self._path = path
        self._image_dir = image_dir
        self._given = categories
        self._check_files = check_files
        self._problems: list[Problem] = []
        self._images: dict[int, ImageRecord] = {}
        self._dropped_images: set[int] = set()

    def read(self) -> CocoData:
        """Read the file."""
        lists, digest = read_annotation_file(self._path)
        categories = self._read_categories(lists["categories"])
        self._read_images(lists["images"])
        annotations = self._read_annotations(lists["annotations"], {c.id: c.label for c in categories})
        self._report_empty_images(annotations)
        return CocoData(
            path=self._path,
            image_dir=self._image_dir,
            categories=categories,
            images=tuple(self._images.values()),
            annotations=annotations,
            problems=tuple(self._problems),
            digest=digest,
        )

    def _read_categories(self, entries: list[dict[str, Any]]) -> tuple[Category, ...]:
        names: dict[int, str] = {}
        for entry in entries:
            if names.setdefault(entry["id"], entry["name"]) != entry["name"]:
                raise DataError(
                    f"{self._path}: category id {entry['id']} is both `{names[entry['id']]}` and `{entry['name']}`.",
                    "give each category an id of its own",
                )
        if self._given is None:
            return tuple(Category(id=i, name=names[i], label=n) for n, i in enumerate(sorted(names), start=1))
        given = {category.id: category.name for category in self._given}
        for category_id, name in names.items():
            if given.get(category_id) != name:
                known = f"`{given[category_id]}`" if category_id in given else "nothing"
                raise DataError(
                    f"{self._path}: category id {category_id} is `{name}`, but {known} in the training data.",
                    "give both files the same categories, with the same ids and names",
                )
        return self._given

    def _read_images(self, entries: list[dict[str, Any]]) -> None:
        if self._check_files and not self._image_dir.is_dir():
            raise DataError(
                f"the image folder {self._image_dir} does not exist.",
                "check train-images and val-images in [data] of maskx.toml",
            )
        present = _Folder(self._image_dir) if self._check_files else None
        for entry in entries:
            image = ImageRecord(entry["id"], entry["file_name"], entry["width"], entry["height"])
            if image.id in self._images or image.id in self._dropped_images:
                self._report("duplicate image id", f"image id {image.id} again ({image.file_name})", image.id)
            elif image.width < 1 or image.height < 1:
                message = f"image {image.id} is {image.width}x{image.height}"
                self._report("image without size", message, image.id, action="dropped with its annotations")
                self._dropped_images.add(image.id)
            elif present is not None and not present.has(image.file_name):
                message = f"image {image.id}: {image.file_name} does not exist"
                self._report("missing image file", message, image.id, action="dropped with its annotations")
                self._dropped_images.add(image.id)
            else:
                self._images[image.id] = image
        if entries and not self._images:
            raise DataError(
                f"{self._path}: no image can be used of {len(entries)}; the first: {self._problems[0].message}.",
                f"check that the images lie in {self._image_dir} under their `file_name`",
            )

    def _read_annotations(self, entries: list[dict[str, Any]], labels: dict[int, int]) -> tuple[Annotation, ...]:
        annotations: dict[int, Annotation] = {}
        for entry in entries:
            annotation_id, image_id, category_id = entry["id"], entry["image_id"], entry["category_id"]
            if annotation_id in annotations:
                message = f"annotation id {annotation_id} again (image {image_id})"
                self._report("duplicate annotation id", message, image_id, annotation_id, "dropped, first one kept")
            elif image_id in self._dropped_images:
                message = f"annotation {annotation_id} of image {image_id}, which was dropped"
                self._report("annotation of a dropped image", message, image_id, annotation_id)
            elif image_id not in self._images:
                message = f"annotation {annotation_id}: no image has id {image_id}"
                self._report("unknown image id", message, image_id, annotation_id)
            elif category_id not in labels:
                message = f"annotation {annotation_id}: no category has id {category_id}"
                self._report("unknown category id", message, image_id, annotation_id)
            elif (box := self._read_box(entry, self._images[image_id])) is not None:
                annotations[annotation_id] = Annotation(
                    id=annotation_id,
                    image_id=image_id,
                    label=labels[category_id],
                    box_xyxy=box,
                    area=_area(entry.get("area"), box),
                    iscrowd=bool(entry.get("iscrowd")),
                    segmentation=self._read_mask(entry, self._images[image_id]),
                )
        return tuple(annotations.values())

    def _read_box(self, entry: dict[str, Any], image: ImageRecord) -> tuple[float, float, float, float] | None:
        """COCO's [x, y, width, height] as a box inside the image, or None (with a problem) if there is none."""
        what = f"annotation {entry['id']}: bbox {entry['bbox']!r:.80}"
        numbers = [_number(side) for side in entry["bbox"]]
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
            self._report("broken box", f"{what} is not four numbers", image.id, entry["id"])
            return None
        x, y, box_width, box_height = numbers
        if min(box_width, box_height) < _SMALLEST_SIDE:
            self._report("zero-area box", f"{what} has no area", image.id, entry["id"])
            return None
        box = (max(x, 0.0), max(y, 0.0), min(x + box_width, image.width), min(y + box_height, image.height))
        place = f"the image of {image.width}x{image.height} pixels"
        if min(box[2] - box[0], box[3] - box[1]) < _SMALLEST_SIDE:
            self._report("box outside the image", f"{what} is outside {place}", image.id, entry["id"])
            return None
        if max(-x, -y, x + box_width - image.width, y + box_height - image.height) > _ROUNDING:
            message = f"{what} is partly outside {place}"
            self._report("box partly outside the image", message, image.id, entry["id"], "clipped")
        return box

    def _read_mask(self, entry: dict[str, Any], image: ImageRecord) -> object | None:
        segmentation = entry.get("segmentation")
        fault = segmentation_fault(segmentation, height=image.height, width=image.width)
        if fault is not None:
            message = f"annotation {entry['id']}: {fault}"
            self._report("broken segmentation", message, image.id, entry["id"], "mask treated as absent, box kept")
            return None
        return None if mask_is_absent(segmentation) else segmentation

    def _report_empty_images(self, annotations: tuple[Annotation, ...]) -> None:
        filled = {annotation.image_id for annotation in annotations if not annotation.iscrowd}
        for image in self._images.values():
            if image.id not in filled:
                message = f"image {image.id} ({image.file_name}) has no box"
                self._report("image without boxes", message, image.id, action="kept, not trained on")

    def _report(
        self, kind: str, message: str, image_id: int, annotation_id: int | None = None, action: str = "dropped"
    ) -> None:
        self._problems.append(Problem(kind, message, action, annotation_id, image_id))


class _Folder:
    """The files below a folder; each subfolder is listed once, since asking file by file is slow on networks."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[Path, set[str]] = {}

    def has(self, file_name: str) -> bool:
        path = self._root / file_name
        if path.parent not in self._names:
            is_folder = path.parent.is_dir()
            self._names[path.parent] = {entry.name for entry in path.parent.iterdir()} if is_folder else set()
        return path.name in self._names[path.parent]


def _number(value: object) -> float:
    """NaN for what is no number."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan


def _area(value: object, box: tuple[float, float, float, float]) -> float:
    """The annotation's area in square pixels (of the mask, in COCO); that of the box where it is missing."""
    area = _number(value)
    return area if math.isfinite(area) and area >= 0 else (box[2] - box[0]) * (box[3] - box[1])
