"""Reading a COCO-format data set in which a mask may be absent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.annotation_columns import BROKEN, CROWD, MASKED, TAUGHT, AnnotationColumns, Entry
from maskx_pipeline.data.annotation_file import read_annotation_columns
from maskx_pipeline.data.annotation_table import look_up
from maskx_pipeline.data.category_map import CategoryMap
from maskx_pipeline.data.image_files import ImageFiles
from maskx_pipeline.data.kinds import (
    KINDS,
    MISSING,
    NO_BOXES,
    REPEATED,
    REPEATED_PER_IMAGE,
    SHIFTED_CATEGORIES,
    TWO_FILES,
    UNKNOWN_CATEGORY,
)
from maskx_pipeline.data.odd_annotations import OddAnnotations, plain_boxes
from maskx_pipeline.data.records import Annotation, AnnotationTable, Category, CocoData, ImageRecord, Listed, Problem
from maskx_pipeline.errors import DataError
from maskx_pipeline.settings import digest_of
from maskx_pipeline.text import shown

__all__ = ["Annotation", "Category", "CocoData", "ImageRecord", "Problem", "read_coco"]


def read_coco(
    annotation_file: Path,
    image_dir: Path,
    *,
    categories: tuple[Category, ...] | None = None,
    category_map: CategoryMap | None = None,
    check_files: bool = True,
    teacher_masks: bool = False,
    keep_missing: bool = False,
    crowds_are_objects: bool = False,
) -> CocoData:
    """Read a COCO-format annotation file, working around what can be worked around.

    Args:
        annotation_file: JSON with the lists images, categories and annotations.
        categories: The categories to read it with: validation data are read with those of training, since labels must
            mean the same. None makes labels from the file, by ascending id.
        category_map: Where the file has categories of its own: which of them is which of ``categories``. It becomes
            part of the digest.
        check_files: Whether to look for each image file, and for the spelling that it has on disk.
        teacher_masks: Whether masks by a teacher are read, to be trained on; to all else they are absent, since they
            are no truth.
        keep_missing: Keep the images whose files are not there.
        crowds_are_objects: Read annotations with ``iscrowd`` as those without. It becomes part of the digest.

    Returns:
        The sound part of the data; ``problems`` says what was dropped or changed.

    Raises:
        DataError: The file or the folder cannot be used at all, or its categories disagree with those given, or
            the map leaves open what a category with masks is.
    """
    return _Reader(
        annotation_file,
        image_dir,
        categories,
        category_map,
        check_files,
        teacher_masks,
        keep_missing,
        crowds_are_objects,
    ).read()


@dataclass
class _Reader:
    """Reads one annotation file; see `read_coco`, whose ``categories`` are ``given``."""

    path: Path
    image_dir: Path
    given: tuple[Category, ...] | None
    category_map: CategoryMap | None
    check_files: bool
    teacher_masks: bool
    keep_missing: bool
    crowds_are_objects: bool
    left_out: dict[int, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    images: dict[int, ImageRecord] = field(default_factory=dict)
    dropped_images: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)

    def read(self) -> CocoData:
        """Read the file."""
        columns = read_annotation_columns(self.path)
        digest = columns.digest
        if self.crowds_are_objects:
            digest = digest_of([digest, "crowds are objects"])
        names = self._read_names(columns)
        categories, labels = self._categories_and_labels(names)
        if self.category_map is not None:
            digest = digest_of([digest, sorted(labels.items())])
            masked = set(np.unique(columns.numbers[2, (columns.flags & MASKED) > 0]).tolist())
            self.left_out = self.category_map.left_out_of(names, masked=masked, where=self.path)
        self._read_images(columns)
        annotations = self._read_annotations(columns, labels)
        self._report_empty_images(annotations)
        return CocoData(
            path=self.path,
            image_dir=self.image_dir,
            categories=categories,
            images=tuple(self.images.values()),
            annotations=annotations,
            problems=tuple(self.problems),
            digest=digest,
            labels_in_file=labels,
            listed=Listed(columns.images.shape[1], len(columns.areas), int(((columns.flags & MASKED) > 0).sum())),
        )

    def _read_names(self, columns: AnnotationColumns) -> dict[int, str]:
        names: dict[int, str] = {}
        for category_id, name in ((number, shown(text)) for number, text in columns.categories):
            if names.setdefault(category_id, name) != name:
                raise DataError(
                    f"{self.path}: category id {category_id} is both `{names[category_id]}` and `{name}`.",
                    "give each category an id of its own",
                )
        return names

    def _categories_and_labels(self, names: dict[int, str]) -> tuple[tuple[Category, ...], dict[int, int]]:
        """The categories of the data set, and the label of each category id of the file."""
        if self.given is None:
            own = tuple(Category(id=i, name=names[i], label=n) for n, i in enumerate(sorted(names), start=1))
            return own, {category.id: category.label for category in own}
        if self.category_map is not None:
            return self.given, self.category_map.labels_of(names, self.given)
        given = {category.id: category.name for category in self.given}
        for category_id, name in names.items():
            if given.get(category_id) != name:
                known = f"`{given[category_id]}`" if category_id in given else "nothing"
                raise DataError(
                    f"{self.path}: category id {category_id} is `{name}`, but {known} in the training data.",
                    "give both files the same categories, with the same ids and names; masks of another data set may "
                    "have their own, with category-map in [masks]",
                )
        return self.given, {category.id: category.label for category in self.given}

    def _read_images(self, columns: AnnotationColumns) -> None:
        if self.check_files and not self.image_dir.is_dir():
            raise DataError(
                f"the image folder {self.image_dir} does not exist.",
                "check train-images and val-images in [data] of maskx.toml",
            )

        files = ImageFiles(self.image_dir)
        ids, widths, heights = columns.images.tolist()
        shared = _ids_of_two_files(ids, columns.file_names)
        for image in map(ImageRecord, ids, columns.file_names, widths, heights):
            self.names.setdefault(image.id, image.file_name)
            found: str | None = image.file_name
            if image.id in shared:
                self.names[image.id] = image.file_name
                self._drop_image(TWO_FILES, f"image id {image.id} is also of another file", image.id)
            elif image.id in self.images or image.id in self.dropped_images:
                self._report("duplicate image id", f"image id {image.id} again", image.id)
            elif image.width < 1 or image.height < 1:
                self._drop_image("image without size", f"image {image.id} is {image.width}x{image.height}", image.id)
            elif self.check_files and (found := files.find(image.file_name)) is None and not self.keep_missing:
                message = f"image {image.id}: {shown(image.file_name)} does not exist"
                self._drop_image(MISSING, message, image.id)
            elif found is None or found == image.file_name:
                self.images[image.id] = image
            else:
                self.images[image.id] = replace(image, file_name=found)
        if ids and not self.images:
            raise DataError(
                f"{self.path}: none of {len(ids)} images can be used; the first: {self.problems[0].message}.",
                f"{KINDS[self.problems[0].kind].advice} ({self.image_dir})",
            )

    def _read_annotations(self, columns: AnnotationColumns, labels: dict[int, int]) -> AnnotationTable:
        """Take what is plain as it is, all at once; look at the rest one by one, to say what is wrong with it."""
        ids, image_ids, category_ids = columns.numbers
        known_labels = np.array(list(labels.items()), dtype=np.int64).reshape(-1, 2)
        label_column = look_up(category_ids, known_labels[:, 0], known_labels[:, 1].astype(np.int32))
        boxes, plain = plain_boxes(columns, self.images)
        plain &= (label_column > 0) & ((columns.flags & BROKEN) == 0) & ~_repeated(ids)
        given = np.isfinite(columns.areas) & (columns.areas >= 0)
        with np.errstate(over="ignore", invalid="ignore"):  # of boxes without sense, which are found below
            areas = np.where(given, columns.areas, (boxes[2] - boxes[0]) * (boxes[3] - boxes[1]))
        taught = (columns.flags & (TAUGHT | MASKED)) == (TAUGHT | MASKED)
        has_mask = (columns.flags & MASKED) > 0
        if not self.teacher_masks:
            has_mask &= ~taught
        odd = OddAnnotations(
            images=self.images,
            dropped_images=self.dropped_images,
            labels=labels,
            left_out=self.left_out,
            problems=self.problems,
            names=self.names,
            repeated=REPEATED_PER_IMAGE if _count_per_image(ids, image_ids) else REPEATED,
            unknown=SHIFTED_CATEGORIES if _are_shifted(category_ids, [*labels, *self.left_out]) else UNKNOWN_CATEGORY,
        )
        rows = plain
        for row in np.flatnonzero(~plain).tolist():
            found = odd.read(columns.entries[row], tuple(columns.numbers[:, row].tolist()))
            if found is not None:
                rows[row], boxes[:, row], areas[row] = True, found.box_xyxy, found.area
                has_mask[row] &= found.has_sound_mask
        chosen = slice(None) if rows.all() else np.flatnonzero(rows)
        return AnnotationTable(
            ids=ids[chosen],
            image_ids=image_ids[chosen],
            labels=label_column[chosen],
            boxes_xyxy=boxes[:, chosen].T,
            boxes_xywh=columns.boxes_xywh[:, chosen].T,
            areas=areas[chosen],
            iscrowd=((columns.flags[chosen] & CROWD) > 0) & (not self.crowds_are_objects),
            has_mask=has_mask[chosen],
            taught=taught[chosen],
            extents=columns.extents[:, chosen].T,
            entries=columns.entries if isinstance(chosen, slice) else _Chosen(columns.entries, chosen),
        )

    def _report_empty_images(self, annotations: AnnotationTable) -> None:
        ids = np.fromiter(self.images, np.int64, len(self.images))
        filled = np.zeros(len(ids) + 1, dtype=bool)
        places = np.arange(1, len(ids) + 1, dtype=np.int32)
        filled[look_up(annotations.image_ids[~annotations.iscrowd], ids, places)] = True
        for image, has_box in zip(self.images.values(), filled[1:].tolist(), strict=True):
            if not has_box:
                message = f"image {image.id} has no box"
                self._report(NO_BOXES, message, image.id, "kept, not trained on")

    def _report(self, kind: str, message: str, image_id: int, action: str = "dropped") -> None:
        self.problems.append(Problem(kind, message, action, None, image_id, shown(self.names.get(image_id, ""))))

    def _drop_image(self, kind: str, message: str, image_id: int) -> None:
        self._report(kind, message, image_id, "dropped with its annotations")
        self.dropped_images.add(image_id)


class _Chosen:
    """The entries of the annotations that were kept."""

    def __init__(self, entries: Sequence[Entry], rows: NDArray[np.int64]) -> None:
        self._entries = entries
        self._rows = rows

    def __getitem__(self, row: int) -> Entry:
        return self._entries[int(self._rows[row])]


def _repeated(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which ids occur more than once."""
    if (np.diff(ids) > 0).all():
        return np.zeros(len(ids), dtype=bool)
    unique, times = np.unique(ids, return_counts=True)
    return np.isin(ids, unique[times > 1])


def _ids_of_two_files(ids: Sequence[int], names: Sequence[str]) -> set[int]:
    """Image ids that different files have: nobody can say which of them an annotation is of."""
    if len(set(ids)) == len(ids):
        return set()
    first: dict[int, str] = {}
    return {number for number, name in zip(ids, names, strict=True) if first.setdefault(number, name) != name}


def _count_per_image(ids: NDArray[np.int64], image_ids: NDArray[np.int64]) -> bool:
    """Whether ids occur again and again, but never twice in an image."""
    if (np.diff(ids) > 0).all() or len(np.unique(ids)) == len(ids):
        return False
    return len(np.unique(np.stack([ids, image_ids]), axis=1).T) == len(ids)


def _are_shifted(used: NDArray[np.int64], listed: Collection[int]) -> bool:
    """Whether category ids fit the listed ones if each is one lower, or one higher, and do not as they are."""
    found = set(np.unique(used).tolist())
    known = set(listed)
    return not found <= known and any({number + step for number in found} <= known for step in (-1, 1))
