"""To LabelMe: a JSON file beside each image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskx_pipeline.convert.from_labelme import LABELS
from maskx_pipeline.convert.hand_over import Part, categories_of
from maskx_pipeline.text import json_text

_VERSION = "5.5.0"


def write(folder: Path, parts: Sequence[Part]) -> None:
    """Write SPLIT/IMAGE and its JSON file, and labels.txt: polygons of masks, a rectangle of a box without one.

    The parts of a mask share a group_id.
    """
    names = categories_of(parts).values()
    for part in parts:
        (folder / part.name).mkdir()
        for image, path in part.images():
            target = folder / part.name / image["file_name"]
            labels = part.claim(target.with_suffix(".json"), image)
            part.place(path, target)
            content = {
                "version": _VERSION,
                "flags": {},
                "shapes": list(_shapes(part, image)),
                "imagePath": target.name,
                "imageData": None,
                "imageHeight": image["height"],
                "imageWidth": image["width"],
            }
            labels.write_text(json_text(content), encoding="utf-8")
    (folder / LABELS).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _shapes(part: Part, image: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    groups = 0
    for found in part.file.objects(image, crowds=False):
        polygons = part.file.polygons(found, image)
        part.count(mask=bool(polygons))
        groups += len(polygons) > 1
        x, y, w, h = found.box_xywh
        for polygon in polygons or [[x, y, x + w, y + h]]:
            yield {
                "label": found.category,
                "points": [list(point) for point in zip(polygon[0::2], polygon[1::2], strict=True)],
                "group_id": groups if len(polygons) > 1 else None,
                "description": "",
                "shape_type": "polygon" if polygons else "rectangle",
                "flags": {},
            }
