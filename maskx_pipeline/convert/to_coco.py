"""To tools that read COCO's format, each in its own way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from maskx_pipeline.convert.coco_file import CocoObject
from maskx_pipeline.convert.hand_over import Part

_NUMBERS = ("id", "image_id", "category_id")
_KEYS = {*_NUMBERS, "bbox", "area", "iscrowd", "segmentation"}

_TAGS = (("PolygonLabels", "labelpolygons"), ("RectangleLabels", "label_rectangles"))
"""How Label Studio's converter names what it makes of polygons and boxes."""

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def write_for_cvat(folder: Path, parts: Sequence[Part]) -> None:
    """Write SPLIT.json, for *Upload annotations*, *COCO 1.0*: polygons and RLE, no null."""
    for part in parts:
        _write_json(folder / f"{part.name}.json", part)


def write_for_datumaro(folder: Path, parts: Sequence[Part]) -> None:
    """Write annotations/instances_SPLIT.json, and the images in images/SPLIT."""
    (folder / "annotations").mkdir()
    for part in parts:
        for image, path in part.images():
            target = folder / "images" / part.name / image["file_name"]
            part.place(path, part.claim(target, image))
        _write_json(folder / "annotations" / f"instances_{part.name}.json", part)


def write_for_label_studio(folder: Path, parts: Sequence[Part]) -> None:
    """Write SPLIT.json for label-studio-converter, polygons alone, and label-config.xml.

    The converter writes a configuration too, but names with ``&`` or ``<`` break it.
    """
    for part in parts:
        _write_json(folder / f"{part.name}.json", part, polygons_only=True)
    names = list(dict.fromkeys(name for part in parts for name in part.file.categories.values()))
    lines = ["<View>", '  <Image name="image" value="$image"/>']
    for kind, name in _TAGS:
        lines.append(f'  <{kind} name="{name}" toName="image">')
        lines += [
            f'    <Label value={quoteattr(label)} background="{_COLOURS[number % len(_COLOURS)]}"/>'
            for number, label in enumerate(names)
        ]
        lines.append(f"  </{kind}>")
    (folder / "label-config.xml").write_text("\n".join([*lines, "</View>", ""]), encoding="utf-8")


def _write_json(path: Path, part: Part, *, polygons_only: bool = False) -> None:
    """The annotations image by image; only ids, boxes and masks are looked at, other keys stay."""
    shift = int(0 in part.file.categories)  # to Datumaro, and so to CVAT, category 0 is none
    if shift:
        part.file.left_out["category ids, each 1 higher: 0 is no category for the tool"] += len(part.file.categories)
    categories = [{"id": number + shift, "name": name} for number, name in part.file.categories.items()]
    images = [
        {**{key: value for key, value in image.items() if value is not None}, "id": image["id"]}
        for image in part.file.images
    ]
    part.counts["images"] = len(images)
    top = {"info": part.file.info(), "licenses": [], "categories": categories, "images": images}
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(top, ensure_ascii=False)[:-1])
        stream.write(', "annotations": [')
        comma = "\n"
        for image in part.file.images:
            for entry in _entries(part, image, shift, polygons_only=polygons_only):
                stream.write(comma + json.dumps(entry, ensure_ascii=False))
                comma = ",\n"
        stream.write("\n]}\n")


def _entries(part: Part, image: Mapping[str, Any], shift: int, *, polygons_only: bool) -> Iterator[dict[str, Any]]:
    for found in part.file.objects(image, crowds=not polygons_only):
        mask = part.file.polygons(found, image) if polygons_only else found.mask
        part.count(mask=bool(mask))
        yield _entry(found, mask, shift)


def _entry(found: CocoObject, mask: Any, shift: int) -> dict[str, Any]:
    others = {key: value for key, value in found.entry.items() if key not in _KEYS and value is not None}
    return {
        "id": found.entry["id"],
        "image_id": found.entry["image_id"],
        "category_id": found.entry["category_id"] + shift,
        "bbox": list(found.entry["bbox"]),
        "area": found.entry.get("area") or found.box_xywh[2] * found.box_xywh[3],
        "iscrowd": int(found.iscrowd),
        "segmentation": mask or [],
        **others,
    }
