"""To YOLO's labels: a text file for each image, and data.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.convert.coco_file import CocoObject
from maskx_pipeline.convert.from_yolo import label_path
from maskx_pipeline.convert.hand_over import Part, categories_of
from maskx_pipeline.convert.one_polygon import one_polygon

RECTANGLES = "boxes without a mask written as rectangles: Ultralytics takes no boxes among polygons"


def write(folder: Path, parts: Sequence[Part]) -> None:
    """Write images/SPLIT, labels/SPLIT and data.yaml: a polygon of each mask, and five numbers of a box without one."""
    _write(folder, parts, rectangles=False)


def write_for_ultralytics(folder: Path, parts: Sequence[Part]) -> None:
    """The same, and a box without a mask is a rectangle of four corners.

    Ultralytics refuses an image in which polygons and boxes are mixed, and a segmentation data set with boxes alone.
    """
    _write(folder, parts, rectangles=True)


def _write(folder: Path, parts: Sequence[Part], *, rectangles: bool) -> None:
    categories = categories_of(parts)
    classes = {name: number for number, name in enumerate(categories.values())}
    for part in parts:
        (folder / "images" / part.name).mkdir(parents=True)
        for image, path in part.images():
            target = folder / "images" / part.name / image["file_name"]
            labels = part.claim(label_path(target), image)
            part.place(path, target)
            lines = list(_lines(part, image, classes, rectangles=rectangles))
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    places = {part.name: f"images/{part.name}" for part in parts}
    for name in ("train", "val"):  # Ultralytics wants both
        places.setdefault(name, places[parts[0].name])
    # Texts of JSON are texts of YAML; names may be anything.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for name, number in classes.items())
    splits = "".join(f"{name}: {place}\n" for name, place in places.items())
    (folder / "data.yaml").write_text(f"{splits}names:\n{names}", encoding="utf-8")


def _lines(part: Part, image: Mapping[str, Any], classes: Mapping[str, int], *, rectangles: bool) -> Iterator[str]:
    width, height = image["width"], image["height"]
    for found in part.file.objects(image, crowds=False):
        polygons = part.file.polygons(found, image)
        part.count(mask=bool(polygons))
        if polygons:
            numbers = _share(one_polygon(polygons), width, height)
        elif rectangles:
            part.file.left_out[RECTANGLES] += 1
            numbers = _share(_corners(found), width, height)
        else:
            x, y, w, h = found.box_xywh
            numbers = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
        yield " ".join([str(classes[found.category]), *(f"{number:.7g}" for number in numbers)])


def _corners(found: CocoObject) -> list[float]:
    x, y, w, h = found.box_xywh
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def _share(polygon: Sequence[float], width: int, height: int) -> list[float]:
    """Coordinates as shares of the image's sides, 0..1."""
    sizes = (width, height)
    return [min(max(side / sizes[place % 2], 0.0), 1.0) for place, side in enumerate(polygon)]
