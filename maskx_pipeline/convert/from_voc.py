"""From Pascal VOC's XML files and mask pictures to COCO-format annotations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.config.formats import FromVocConfig
from maskx_pipeline.convert.found import FoundImage, FoundObject, write_coco
from maskx_pipeline.convert.source_files import digest_of_files, relative_name, shown_size
from maskx_pipeline.data.images import ENDINGS, open_image
from maskx_pipeline.data.masks import rle_of_pixels
from maskx_pipeline.errors import DataError

_SPLITS = ("train", "val", "test")
_VOID = 255
_HINT = "give the folder that holds Annotations and JPEGImages, or XML files beside their images"

BACKGROUND = "background"
LABEL_MAP = "labelmap.txt"


def convert(source: Path, config: FromVocConfig, *, overwrite: bool = False) -> Path:
    """Write the annotation files of a data set in the format of Pascal VOC.

    The n-th object of an XML file has the pixels of value n in the picture of its name in SegmentationObject; where
    there are none, it is a box without a mask. ImageSets/Main says which image is of which split.

    Raises:
        DataError: There are no XML files, or one is broken.
    """
    return write_coco(VocSource(source), config.out, what="Pascal VOC", settings=config.identity(), overwrite=overwrite)


class VocSource:
    """A data set of XML files; see `Source`."""

    def __init__(self, folder: Path) -> None:
        annotations = folder / "Annotations"
        self.image_dir = folder
        self._masks = folder / "SegmentationObject"
        xml_dir = annotations if annotations.is_dir() else folder
        files = {path.relative_to(xml_dir).with_suffix("").as_posix(): path for path in sorted(xml_dir.rglob("*.xml"))}
        if not files:
            raise DataError(f"{folder} holds no XML files of Pascal VOC.", _HINT)
        self._files, unlisted = _by_split(folder / "ImageSets" / "Main", files)
        self.splits = tuple(self._files)
        self.dropped: Counter[str] = Counter()
        if unlisted:
            self.dropped["images left out: no split of ImageSets/Main lists them"] = unlisted
        self.count = sum(map(len, self._files.values()))
        every = [path for listed in self._files.values() for path in listed.values()]
        masks = [self._masks / f"{name}.png" for listed in self._files.values() for name in listed]
        label_map = folder / LABEL_MAP
        self.inputs: Mapping[str, str] = {"labels": digest_of_files([*every, *masks, label_map], folder)}
        self.categories = _names_of(every, label_map)

    def images(self) -> Iterator[FoundImage]:
        """By split, in the order of the lists."""
        for split, listed in self._files.items():
            for name, path in listed.items():
                root = _parse(path)
                image = self._image_of(path, root, name)
                width, height = (_number(root, f"size/{side}", 0) for side in ("width", "height"))
                if width < 1 or height < 1:
                    width, height = shown_size(image)
                objects = list(self._objects(root, path, name, round(width), round(height)))
                yield FoundImage(split, relative_name(image, self.image_dir), round(width), round(height), objects)

    def _objects(
        self, root: ElementTree.Element, path: Path, name: str, width: int, height: int
    ) -> Iterator[FoundObject]:
        pixels = self._pixels_of(name, width, height)
        for number, entry in enumerate(root.iter("object"), start=1):
            sides = [_number(entry, f"bndbox/{side}", math.nan) for side in ("xmin", "ymin", "xmax", "ymax")]
            if not all(map(math.isfinite, sides)):
                raise DataError(f"{path}: object {number} has no box.", "give bndbox with xmin, ymin, xmax and ymax")
            # The first pixel is 1, and xmax and ymax are the last ones inside.
            left, top, right, bottom = sides[0] - 1, sides[1] - 1, sides[2], sides[3]
            mask: dict[str, Any] | None = None
            if pixels is not None and number < _VOID and (own := pixels == number).any():
                mask = rle_of_pixels(own)
            yield FoundObject(_name_of(entry, path), (left, top, right - left, bottom - top), mask)

    def _pixels_of(self, name: str, width: int, height: int) -> NDArray[np.uint8] | None:
        path = self._masks / f"{name}.png"
        if not path.is_file():
            return None
        with open_image(path) as picture:
            if picture.size != (width, height) or picture.mode not in ("P", "L"):
                raise DataError(
                    f"{path} is {picture.width}x{picture.height} {picture.mode}, and its image {width}x{height}.",
                    "pictures of SegmentationObject have the size of the image and a palette",
                )
            return np.array(picture)

    def _image_of(self, path: Path, root: ElementTree.Element, name: str) -> Path:
        given = (root.findtext("filename") or "").strip()
        pictures = self.image_dir / "JPEGImages"
        places = [pictures / given, path.parent / given] if given else []
        places += [folder / f"{name}{ending}" for folder in (pictures, path.parent) for ending in ENDINGS]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise DataError(f"{path}: its image {given or name} is not there.", _HINT)
        return found


def _by_split(folder: Path, files: Mapping[str, Path]) -> tuple[dict[str, dict[str, Path]], int]:
    """The XML files of each split by name, and how many are of none; without lists all are of train."""
    lists = {split: folder / f"{split}.txt" for split in _SPLITS if (folder / f"{split}.txt").is_file()}
    if not lists:
        return {"train": dict(files)}, 0
    chosen: dict[str, dict[str, Path]] = {}
    for split, path in lists.items():
        names = [line.split()[0] for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if missing := [name for name in names if name not in files]:
            raise DataError(f"{path} lists {missing[0]}, which has no XML file.", _HINT)
        chosen[split] = {name: files[name] for name in names}
    return chosen, len(files.keys() - {name for listed in chosen.values() for name in listed})


def _names_of(files: list[Path], label_map: Path) -> tuple[str, ...]:
    """The categories: those of labelmap.txt first, in its order, and then others that occur, sorted."""
    listed = []
    if label_map.is_file():
        lines = label_map.read_text(encoding="utf-8-sig").splitlines()
        listed = [line.rsplit(":", 3)[0] for line in lines if line.strip() and not line.startswith("#")]
    found = {_name_of(entry, path) for path in files for entry in _parse(path).iter("object")}
    names = dict.fromkeys(name for name in listed if name != BACKGROUND or name in found)
    return (*names, *sorted(found - names.keys()))


def _name_of(entry: ElementTree.Element, path: Path) -> str:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{path}: an object has no name.", "give each object its category as `name`")
    return name


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "check the file") from error


def _number(entry: ElementTree.Element, place: str, default: float) -> float:
    try:
        return float(entry.findtext(place) or default)
    except ValueError:
        return default
