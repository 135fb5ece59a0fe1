"""From YOLO's labels, boxes and polygons, to COCO-format annotations."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.config.formats import FromYoloConfig
from maskx_pipeline.convert.found import FoundImage, FoundObject, write_coco
from maskx_pipeline.convert.source_files import digest_of_files, images_in, relative_name, shown_size
from maskx_pipeline.data.images import ENDINGS
from maskx_pipeline.errors import DataError

logger = logging.getLogger("maskx")

SPLITS = ("train", "val", "test")

_HINT = "give the data.yaml of a data set as Ultralytics describes it: path, train, val, names"


def convert(source: Path, config: FromYoloConfig, *, overwrite: bool = False) -> Path:
    """Write the annotation files of a YOLO data set.

    A line of five numbers is a box without a mask; one of seven or more a polygon, which is a mask.

    Args:
        source: Its data.yaml, or the folder in which one lies.

    Raises:
        DataError: It is missing or broken, or an image is.
    """
    return write_coco(
        YoloSource(source), config.out, what="YOLO labels", settings=config.identity(), overwrite=overwrite
    )


class YoloSource:
    """A data set of data.yaml, images and labels; see `Source`."""

    def __init__(self, path: Path) -> None:
        self.path = _yaml_of(path)
        content = _read_yaml(self.path)
        self.image_dir = _root(self.path, content)
        self.categories = _names(self.path, content)
        self._images: dict[str, list[Path]] = {}
        for split in SPLITS:
            if content.get(split):
                found = list(dict.fromkeys(_images_of(self.path, self.image_dir, content[split])))
                if found in self._images.values():
                    logger.warning("%s: %s has the images of another split, and is left out.", self.path, split)
                else:
                    self._images[split] = found
        self.splits = tuple(self._images)
        if not self.splits:
            raise DataError(f"{self.path} names no images: it has none of {', '.join(SPLITS)}.", _HINT)
        every = [image for images in self._images.values() for image in images]
        self.count = len(every)
        labels = [label_path(image) for image in every]
        self.inputs: Mapping[str, str] = {"labels": digest_of_files([self.path, *labels], self.path.parent.parent)}
        self.dropped: Counter[str] = Counter()

    def images(self) -> Iterator[FoundImage]:
        """By split, in the order of the files."""
        for split, images in self._images.items():
            for path in images:
                width, height = shown_size(path)
                objects = list(self._objects(label_path(path), width, height))
                yield FoundImage(split, relative_name(path, self.image_dir), width, height, objects)

    def _objects(self, path: Path, width: int, height: int) -> Iterator[FoundObject]:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            return  # an image without objects
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}.", "check the file") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = [float(part) for part in line.split()]
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}.", _HINT) from error
            if not all(map(math.isfinite, values)):
                raise DataError(f"{path}, line {number}: a number is infinite, or none.", _HINT)
            if values[0] not in range(len(self.categories)):
                raise DataError(
                    f"{path}, line {number}: class {line.split()[0]} is not among the {len(self.categories)} names.",
                    f"check `names` of {self.path}",
                )
            category, sides = self.categories[int(values[0])], values[1:]
            if len(sides) == 4:
                x, y, w, h = sides
                yield FoundObject(category, ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height))
            elif len(sides) >= 6 and len(sides) % 2 == 0:
                xs, ys = [x * width for x in sides[0::2]], [y * height for y in sides[1::2]]
                box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
                polygon = [round(side, 3) for point in zip(xs, ys, strict=True) for side in point]
                yield FoundObject(category, box, [polygon])
            else:
                self.dropped["lines left out: neither a box (5 numbers) nor a polygon (7, 9, ..)"] += 1


def label_path(image: Path) -> Path:
    """Where Ultralytics looks for the labels of an image: the last folder `images` becomes `labels`."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _yaml_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    if len(found) != 1:
        raise DataError(f"{path} has {len(found)} files *.yaml, where one was looked for.", _HINT)
    return found[0]


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml  # here, since only this needs it

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {error}.", _HINT) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a data.yaml.", _HINT)
    return content


def _names(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path} has no list of `names`, one for each class from 0.", _HINT)
    wrong = next((name for name in names if isinstance(name, bool) or not isinstance(name, str | int | float)), "")
    if wrong != "":
        raise DataError(
            f"{path}: {wrong!r} is not the name of a class.",
            "write names in quotes: YAML reads yes, no, on, off as truth",
        )
    if len(set(map(str, names))) < len(names):
        raise DataError(f"{path} has a name twice in `names`.", "give each class a name of its own")
    return tuple(map(str, names))


def _root(path: Path, content: Mapping[str, Any]) -> Path:
    """The folder that the images are relative to; data sets are moved, so a `path` that is not there is left out."""
    given = content.get("path")
    root = path.parent / str(given) if given else path.parent
    return root if root.is_dir() else path.parent


def _images_of(path: Path, root: Path, entry: Any) -> Iterator[Path]:
    """The images of a split: a folder, a text file that lists them, or several of these."""
    for one in entry if isinstance(entry, list) else [entry]:
        place = root / str(one)
        if not place.exists() and str(one).startswith("../"):  # as Roboflow writes it, meaning the folder itself
            place = root / str(one)[3:]
        if place.is_dir():
            yield from images_in(place)
        elif place.is_file() and place.suffix.lower() not in ENDINGS:
            lines = place.read_text(encoding="utf-8-sig").splitlines()
            yield from (place.parent / line.strip() for line in lines if line.strip())
        elif place.is_file():
            yield place
        else:
            raise DataError(f"{path} names {one}, which is neither a folder nor a list of images in {root}.", _HINT)
