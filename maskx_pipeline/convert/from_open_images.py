"""From Open Images' CSV files of boxes and its mask pictures to COCO-format annotations."""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from maskx_pipeline.config.formats import FromOpenImagesConfig
from maskx_pipeline.convert.found import FoundImage, FoundObject, write_coco
from maskx_pipeline.convert.source_files import relative_name, shown_size
from maskx_pipeline.data.images import open_image
from maskx_pipeline.data.masks import rle_of_pixels
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import sha256_of_file

_SPLITS = {"train": "train", "validation": "val", "test": "test"}
_BOXES = "-annotations-bbox.csv"
_MASKS = "-annotations-object-segmentation.csv"
_NAMES = ("class-descriptions-boxable.csv", "class-descriptions.csv")
_SAME = 2e-3  # of a side: boxes of the two files are rounded differently
_HINT = "give the folder with Open Images' CSV files, as they are downloaded; see the page on large data sets"


class _Box(NamedTuple):
    label: str
    sides: tuple[float, float, float, float]
    """x1, y1, x2, y2 as shares of the image's sides."""
    group: bool


class _Mask(NamedTuple):
    file: str
    label: str
    sides: tuple[float, float, float, float]


def convert(source: Path, config: FromOpenImagesConfig, *, overwrite: bool = False) -> Path:
    """Write train, val and test of Open Images, as far as their CSV files are there.

    A box that stands for a group is a crowd region. In memory are the rows of one CSV file of masks.

    Args:
        source: The folder of the CSV files.

    Raises:
        DataError: A file or an image is missing or broken.
    """
    read = OpenImagesSource(source, images=config.images, masks=config.masks)
    return write_coco(read, config.out, what="Open Images", settings=config.identity(), overwrite=overwrite)


class OpenImagesSource:
    """The CSV files of boxes and masks; see `Source`.

    Args:
        images: Folder of the images, ID.jpg, or of a folder for each split; ``FOLDER/images`` if None.
        masks: Folder of the mask pictures, likewise; ``FOLDER/masks`` if None.
    """

    def __init__(self, folder: Path, *, images: Path | None, masks: Path | None) -> None:
        self.image_dir = images or folder / "images"
        self._mask_dir = masks or folder / "masks"
        boxes, masks_of = (
            {ours: path for theirs, ours in _SPLITS.items() if (path := _file(folder, theirs, ending))}
            for ending in (_BOXES, _MASKS)
        )
        if not boxes:
            raise DataError(f"{folder} has no file *{_BOXES}.", _HINT)
        self._boxes, self._masks = boxes, masks_of
        names = next((path for name in _NAMES for path in sorted(folder.glob(f"*{name}"))), None)
        if names is None:
            raise DataError(f"{folder} has no {_NAMES[0]}.", _HINT)
        self._names = _read_names(names)
        self.splits = tuple(boxes)
        self.categories = tuple(dict.fromkeys(self._names.values()))
        files = [names, *boxes.values(), *masks_of.values()]
        self.inputs: Mapping[str, str] = {path.name: sha256_of_file(path) for path in files}
        self.dropped: Counter[str] = Counter()
        self.count = sum(map(_count_images, boxes.values()))

    def images(self) -> Iterator[FoundImage]:
        """By split, in the order in which the boxes name them; images that are not there are left out."""
        theirs = {ours: name for name, ours in _SPLITS.items()}
        for split in self.splits:
            masks = self._read_masks(split)
            for image_id, here in _boxes(self._boxes[split]):
                drawn = masks.pop(image_id, [])
                path = self._image_of(image_id, theirs[split])
                if path is None:
                    self.dropped["images left out: their files are not there"] += 1
                    continue
                width, height = shown_size(path)
                objects = list(self._objects(here, drawn, width, height, theirs[split]))
                yield FoundImage(split, relative_name(path, self.image_dir), width, height, objects)
            if lost := sum(map(len, masks.values())):
                self.dropped["masks left out: of images without boxes"] += lost

    def _objects(
        self, boxes: list[_Box], drawn: list[_Mask], width: int, height: int, split: str
    ) -> Iterator[FoundObject]:
        masks = _pairs(boxes, drawn)
        if len(masks) < len(drawn):
            self.dropped["masks left out: no box of theirs has their sides"] += len(drawn) - len(masks)
        for number, box in enumerate(boxes):
            name = self._names.get(box.label)
            if name is None:
                self.dropped["boxes left out: their class has no name"] += 1
                continue
            x1, y1, x2, y2 = box.sides
            sides = (x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height)
            mask = None
            if number in masks:
                mask = self._mask(masks[number].file, width, height, split)
            yield FoundObject(name, sides, mask, iscrowd=box.group)

    def _mask(self, name: str, width: int, height: int, split: str) -> dict[str, Any] | None:
        """A mask picture as RLE; pictures are smaller or larger than their image, and are brought to its size."""
        # As it is downloaded: an archive for each first letter of the names, unpacked in one folder or in its own.
        folders = (".", split, f"{split}-masks", f"{split}-masks-{name[:1]}", f"{split}/{name[:1]}")
        places = (self._mask_dir / folder / name for folder in folders)
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            self.dropped["masks left out: their pictures are not there"] += 1
            return None
        with open_image(path) as picture:
            pixels = np.asarray(picture.convert("L").resize((width, height), Image.Resampling.NEAREST)) > 0
        return rle_of_pixels(pixels)

    def _image_of(self, image_id: str, split: str) -> Path | None:
        places = (self.image_dir / f"{image_id}.jpg", self.image_dir / split / f"{image_id}.jpg")
        return next((place for place in places if place.is_file()), None)

    def _read_masks(self, split: str) -> dict[str, list[_Mask]]:
        rows: dict[str, list[_Mask]] = defaultdict(list)
        path = self._masks.get(split)
        if path is None:
            return rows
        for row in _rows(path, ("MaskPath", "ImageID", "LabelName", "BoxXMin")):
            sides = _sides(path, row, "BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax")
            rows[row["ImageID"]].append(_Mask(row["MaskPath"], sys.intern(row["LabelName"]), sides))
        return rows


def _boxes(path: Path) -> Iterator[tuple[str, list[_Box]]]:
    """The boxes of one image after the other; the rows of an image stand together, as they are downloaded."""
    seen: set[str] = set()
    rows = _rows(path, ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"))
    for image_id, group in groupby(rows, key=itemgetter("ImageID")):
        if image_id in seen:
            raise DataError(f"{path}: the rows of image {image_id} do not stand together.", "sort it by ImageID")
        seen.add(image_id)
        yield (
            image_id,
            [
                _Box(row["LabelName"], _sides(path, row, "XMin", "YMin", "XMax", "YMax"), row.get("IsGroupOf") == "1")
                for row in group
            ],
        )


def _sides(path: Path, row: Mapping[str, str], *keys: str) -> tuple[float, float, float, float]:
    try:
        x1, y1, x2, y2 = (float(row[key]) for key in keys)
    except (KeyError, TypeError, ValueError) as error:  # a column is missing, a row cut off, a text no number
        raise DataError(
            f"{path}: a row of image {row['ImageID']} has no four numbers {', '.join(keys)}.", _HINT
        ) from error
    return x1, y1, x2, y2


def _count_images(path: Path) -> int:
    with path.open(encoding="utf-8-sig", errors="replace") as stream:  # whoever reads the rows says what is wrong
        return sum(1 for _ in groupby(stream, key=lambda line: line.partition(",")[0])) - 1


def _pairs(boxes: list[_Box], drawn: list[_Mask]) -> dict[int, _Mask]:
    """The mask of each box, by its place: of its class, and nearest in its sides."""
    pairs: dict[int, _Mask] = {}
    for mask in drawn:
        distances = {
            number: max(abs(a - b) for a, b in zip(box.sides, mask.sides, strict=True))
            for number, box in enumerate(boxes)
            if box.label == mask.label and number not in pairs
        }
        if distances and distances[nearest := min(distances, key=distances.__getitem__)] <= _SAME:
            pairs[nearest] = mask
    return pairs


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [key for key in keys if key not in (reader.fieldnames or ())]:
                raise DataError(f"{path} has no column {missing[0]}.", _HINT)
            yield from reader
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.", _HINT) from error


def _read_names(path: Path) -> dict[str, str]:
    """Class (such as /m/0k4j) to name, without a header as in version 5, or with one as in 7."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if len(row) >= 2]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.", _HINT) from error
    names = {row[0]: row[1] for row in rows if row[0] != "LabelName"}
    if not names:
        raise DataError(f"{path} names no classes.", _HINT)
    return names


def _file(folder: Path, split: str, ending: str) -> Path | None:
    """The CSV file of a split, whose name begins with a version in newer releases."""
    return next(iter(sorted(folder.glob(f"{split}{ending}")) + sorted(folder.glob(f"oidv*-{split}{ending}"))), None)
