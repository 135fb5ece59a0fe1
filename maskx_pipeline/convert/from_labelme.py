"""From LabelMe's JSON files, one beside each image, to COCO-format annotations."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskx_pipeline.config.formats import FromLabelMeConfig
from maskx_pipeline.convert.found import FoundImage, FoundObject, write_coco
from maskx_pipeline.convert.source_files import digest_of_files, relative_name, shown_size
from maskx_pipeline.data.images import ENDINGS, open_picture
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.seals import read_json_file

_SPLITS = ("train", "val", "test")
_NO_LABELS = ("__ignore__", "_background_")
_HINT = "give the folder with the JSON files of LabelMe, beside their images"
_ROUND = 64  # corners of a circle

LABELS = "labels.txt"


def convert(source: Path, config: FromLabelMeConfig, *, overwrite: bool = False) -> Path:
    """Write the annotation files of a folder of LabelMe's.

    A polygon, a circle or a mask is a mask; a rectangle is a box without one. Shapes of one group_id and label are one
    object. Subfolders train, val and test are splits; without them all is train.

    Raises:
        DataError: There are no such files, or one is broken.
    """
    return write_coco(
        LabelMeSource(source), config.out, what="LabelMe", settings=config.identity(), overwrite=overwrite
    )


class LabelMeSource:
    """A folder of JSON files; see `Source`."""

    def __init__(self, folder: Path) -> None:
        self.image_dir = folder
        found = {split: sorted((folder / split).rglob("*.json")) for split in _SPLITS if (folder / split).is_dir()}
        files = {split: paths for split, paths in found.items() if paths}
        if not files:
            files = {"train": sorted(folder.rglob("*.json"))}
        labels = {path: names for paths in files.values() for path in paths if (names := _labels_in(path)) is not None}
        self._files = {split: [path for path in paths if path in labels] for split, paths in files.items()}
        self.splits = tuple(self._files)
        every = [path for paths in self._files.values() for path in paths]
        if not every:
            raise DataError(f"{folder} holds no JSON files of LabelMe.", _HINT)
        self.count = len(every)
        self.inputs: Mapping[str, str] = {"labels": digest_of_files([*every, folder / LABELS], folder)}
        self.dropped: Counter[str] = Counter()
        self.categories = _names_of(set().union(*labels.values()), folder / LABELS)

    def images(self) -> Iterator[FoundImage]:
        """By split, in the order of the files."""
        for split, paths in self._files.items():
            for path in paths:
                content = _load(path)
                image = _image_of(path, content)
                width, height = content.get("imageWidth"), content.get("imageHeight")
                if not isinstance(width, int) or not isinstance(height, int):
                    width, height = shown_size(image)
                objects = list(self._objects(path, _shapes_of(path, content), width, height))
                yield FoundImage(split, relative_name(image, self.image_dir), width, height, objects)

    def _objects(self, path: Path, shapes: Sequence[Any], width: int, height: int) -> Iterator[FoundObject]:
        groups: dict[Any, list[dict[str, Any]]] = {}
        for number, shape in enumerate(shapes):
            group = shape.get("group_id")
            groups.setdefault(("alone", number) if group is None else (group, shape["label"]), []).append(shape)
        for parts in groups.values():
            boxes, polygons, masks, corners = [], [], [], []
            for shape in parts:
                kind, points = shape.get("shape_type") or "polygon", _points(path, shape)
                if kind == "rectangle" and len(points) >= 2:
                    boxes.append(points)
                elif kind == "polygon" and len(points) >= 3:
                    polygons.append(points)
                elif kind == "circle" and len(points) == 2:
                    polygons.append(_circle(*points))
                elif kind == "mask" and len(points) == 2:
                    masks.append(_mask(path, shape, points, width, height))
                    corners.append([points[0], (points[1][0] + 1, points[1][1] + 1)])  # the last pixel is inside
                else:
                    self.dropped[f"shapes left out: `{kind}` is neither a box nor a mask"] += 1
            if around := boxes or [*polygons, *corners]:
                box = _around([point for points in around for point in points])
                yield FoundObject(str(parts[0]["label"]), box, _segmentation(polygons, masks, width, height))


def _segmentation(
    polygons: Sequence[Sequence[tuple[float, float]]], masks: Sequence[Any], width: int, height: int
) -> list[list[float]] | dict[str, Any] | None:
    """Polygons as they are; with a mask among them, the union as RLE."""
    flat = [[round(side, 3) for point in points for side in point] for points in polygons]
    if not masks:
        return flat or None
    rles = [coco_mask.encode(np.asfortranarray(mask)) for mask in masks]
    if flat:
        rles += coco_mask.frPyObjects(flat, height, width)
    rle = coco_mask.merge(rles)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _mask(path: Path, shape: Mapping[str, Any], points: Sequence[tuple[float, float]], width: int, height: int) -> Any:
    """The pixels of a shape `mask`: a picture, in base64, of what its two corners enclose."""
    try:
        picture = np.array(open_picture(io.BytesIO(base64.b64decode(shape["mask"]))))
    except (KeyError, TypeError, ValueError, binascii.Error, OSError) as error:
        raise DataError(f"{path}: a shape `mask` cannot be read: {error}.", "check the file") from error
    left, top = (round(side) for side in points[0])
    whole = np.zeros((height, width), dtype=np.uint8)
    here = whole[max(top, 0) : top + picture.shape[0], max(left, 0) : left + picture.shape[1]]
    inside = picture[max(-top, 0) :, max(-left, 0) :]
    here[:] = inside[: here.shape[0], : here.shape[1]] > 0
    return whole


def _circle(centre: tuple[float, float], rim: tuple[float, float]) -> list[tuple[float, float]]:
    radius = math.dist(centre, rim)
    turns = [2 * math.pi * number / _ROUND for number in range(_ROUND)]
    return [(centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns]


def _around(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _points(path: Path, shape: Mapping[str, Any]) -> list[tuple[float, float]]:
    try:
        return [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: a shape has no `points` of two numbers each.", _HINT) from error


def _image_of(path: Path, content: Mapping[str, Any]) -> Path:
    given = str(content.get("imagePath") or "").replace("\\", "/")
    places = [path.parent / given, path.parent / Path(given).name] if given else []
    places += [path.with_suffix(ending) for ending in ENDINGS]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(f"{path}: its image {given} is not there.", _HINT)
    return found


def _names_of(found: set[str], labels: Path) -> tuple[str, ...]:
    """The categories: those of labels.txt first, in its order, and then others that occur, sorted."""
    listed = labels.read_text(encoding="utf-8-sig").splitlines() if labels.is_file() else []
    names = dict.fromkeys(line for line in listed if line.strip() and line not in _NO_LABELS)
    return (*names, *sorted(found - names.keys()))


def _labels_in(path: Path) -> set[str] | None:
    """The labels of one of LabelMe's files; None for another JSON file. One that is no JSON is to be looked at."""
    content = _load(path)
    return {str(shape["label"]) for shape in _shapes_of(path, content)} if "shapes" in content else None


def _shapes_of(path: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) and "label" in shape for shape in shapes):
        raise DataError(f"{path}: `shapes` is no list of shapes with labels.", _HINT)
    return shapes


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_json_file(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "check the file") from error
    return content if isinstance(content, dict) else {}
