"""To Pascal VOC: an XML file for each image, and pictures of the masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.convert.coco_file import CocoObject
from maskx_pipeline.convert.from_voc import BACKGROUND, LABEL_MAP
from maskx_pipeline.convert.hand_over import Part, categories_of
from maskx_pipeline.data.masks import segmentation_to_rle

_MOST = 254
"""Values of a picture: 0 is the background, and 255 what counts as nothing."""


def write(folder: Path, parts: Sequence[Part]) -> None:
    """Write JPEGImages, Annotations, ImageSets, SegmentationObject, SegmentationClass and labelmap.txt.

    A pixel belongs to one object alone there: where masks overlap, the smaller one lies on top.
    """
    names = list(categories_of(parts).values())
    colours = _colours()
    for part in parts:
        listed, segmented = [], []
        for image, path in part.images():
            name = Path(image["file_name"])
            xml = part.claim(folder / "Annotations" / name.with_suffix(".xml"), image)
            part.place(path, folder / "JPEGImages" / name)
            objects = list(part.file.objects(image, crowds=False))
            pixels = _pixels_of(objects, part, image)
            listed.append(name.with_suffix("").as_posix())
            if pixels.any():
                segmented.append(listed[-1])
                _save(pixels, folder / "SegmentationObject" / name.with_suffix(".png"), colours)
                if len(names) <= _MOST:
                    classes = np.array([0, *(1 + names.index(found.category) for found in objects)], np.uint8)
                    _save(classes[pixels], folder / "SegmentationClass" / name.with_suffix(".png"), colours)
            _write_xml(xml, image, objects, segmented=bool(pixels.any()))
        for kind, lines in (("Main", listed), ("Segmentation", segmented)):
            path = folder / "ImageSets" / kind / f"{part.name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rows = [f"{name}:{','.join(map(str, colours[number % 256]))}::" for number, name in enumerate([BACKGROUND, *names])]
    (folder / LABEL_MAP).write_text("\n".join(["# label:color_rgb:parts:actions", *rows, ""]), encoding="utf-8")


def _pixels_of(objects: Sequence[CocoObject], part: Part, image: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The number of the object, from 1, at each pixel; and count what could be written."""
    height, width = image["height"], image["width"]
    pixels = np.zeros((height, width), dtype=np.uint8)
    rles = {
        number: segmentation_to_rle(found.mask, height, width)
        for number, found in enumerate(objects, start=1)
        if found.mask is not None and number <= _MOST
    }
    for number in sorted(rles, key=lambda number: -int(coco_mask.area(rles[number]))):
        pixels[coco_mask.decode(rles[number]) > 0] = number
    written = set(np.unique(pixels).tolist())
    for number, found in enumerate(objects, start=1):
        part.count(mask=number in written)
        if found.mask is not None and number not in written:
            part.file.left_out["masks left out: hidden by smaller ones, or more than 254 in an image"] += 1
    return pixels


def _write_xml(path: Path, image: Mapping[str, Any], objects: Sequence[CocoObject], *, segmented: bool) -> None:
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", image["file_name"])
    _add(ElementTree.SubElement(root, "source"), "database", "COCO format, by maskx")
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", image["width"]), ("height", image["height"]), ("depth", 3)):
        _add(size, key, value)
    _add(root, "segmented", int(segmented))
    for found in objects:
        entry = ElementTree.SubElement(root, "object")
        x, y, w, h = found.box_xywh
        for key, value in (("name", found.category), ("pose", "Unspecified"), ("truncated", 0), ("difficult", 0)):
            _add(entry, key, value)
        box = ElementTree.SubElement(entry, "bndbox")
        # The first pixel is 1, and xmax and ymax are the last ones inside.
        for key, side in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + w), ("ymax", y + h)):
            _add(box, key, f"{side:.2f}".rstrip("0").rstrip("."))
    ElementTree.indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(root).write(path, encoding="utf-8")


def _add(parent: ElementTree.Element, key: str, value: object) -> None:
    ElementTree.SubElement(parent, key).text = str(value)


def _save(pixels: NDArray[np.uint8], path: Path, colours: NDArray[np.uint8]) -> None:
    picture = Image.fromarray(pixels, mode="P")
    picture.putpalette(colours.ravel().tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _colours() -> NDArray[np.uint8]:
    """VOC's colours, uint8 [256, 3]: the bits of a number, spread over red, green and blue from the highest down."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * place + channel)) & 1) << (7 - place)
    return colours.astype(np.uint8)
