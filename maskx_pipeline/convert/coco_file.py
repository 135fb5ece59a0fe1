"""A COCO-format file to be handed over: image by image, masks either sound or absent."""

from __future__ import annotations

import codecs
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from maskx_pipeline.convert.found import clipped
from maskx_pipeline.data.annotation_columns import is_crowd
from maskx_pipeline.data.masks import mask_is_absent, segmentation_fault, segmentation_to_rle
from maskx_pipeline.data.polygon_area import polygons_are_empty
from maskx_pipeline.data.polygons import outline_of
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import regular

_HINT = "give a COCO-format file with images, annotations and categories; `maskx doctor` says more"

Mask = list[list[float]] | dict[str, Any]


class CocoObject(NamedTuple):
    """An annotation: its own keys, and of them the sound box and mask; None where it has no mask."""

    entry: dict[str, Any]
    category: str
    box_xywh: tuple[float, float, float, float]
    mask: Mask | None
    iscrowd: bool


class _Owner(msgspec.Struct):
    image_id: int


class CocoFile:
    """Reads an annotation file; its bytes stay in memory, and the objects of one image at a time.

    Attributes:
        categories: Id to name, in the order of the file.
        images: The entries of the file.
        left_out: How many things `objects` left out or changed, by the reason.

    Raises:
        DataError: It is missing, or no annotation file.
    """

    def __init__(self, path: Path) -> None:
        try:
            raw = regular(path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.", "check the path") from error
        self.path = path
        self.digest = hashlib.sha256(raw).hexdigest()
        self.left_out: Counter[str] = Counter()
        try:
            self._top = msgspec.json.decode(memoryview(raw.removeprefix(codecs.BOM_UTF8)), type=dict[str, msgspec.Raw])
            self.images: list[dict[str, Any]] = msgspec.json.decode(self._top["images"], type=list[dict[str, Any]])
            named = msgspec.json.decode(self._top["categories"], type=list[dict[str, Any]])
            self.categories: dict[int, str] = {entry["id"]: str(entry["name"]) for entry in named}
            annotations = msgspec.json.decode(self._top["annotations"], type=list[msgspec.Raw])
            owner = msgspec.json.Decoder(_Owner).decode
            self._of_image: dict[int, list[msgspec.Raw]] = defaultdict(list)
            for annotation in annotations:
                self._of_image[owner(annotation).image_id].append(annotation)
            for image in self.images:
                _ = image["id"], image["file_name"] + "", image["width"] + 0, image["height"] + 0
        except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{path} is no annotation file: {type(error).__name__}: {error}.", _HINT) from error
        known = {image["id"] for image in self.images}
        lost = sum(len(found) for number, found in self._of_image.items() if number not in known)
        if lost:
            self.left_out["annotations left out: of an unknown image"] += lost

    def info(self) -> dict[str, Any]:
        """What the file says of itself; nothing where it says nothing."""
        found = msgspec.json.decode(self._top["info"]) if "info" in self._top else {}
        return found if isinstance(found, dict) else {}

    def objects(self, image: Mapping[str, Any], *, crowds: bool = True) -> Iterator[CocoObject]:
        """The objects of an image that have a sound box and a known category, in the order of the file.

        Args:
            crowds: Also crowd regions; else they are counted as left out.
        """
        for text in self._of_image.get(image["id"], ()):
            entry: dict[str, Any] = msgspec.json.decode(text)
            name = self.categories.get(entry.get("category_id", -1))
            if name is None:
                self.left_out["annotations left out: of an unknown category"] += 1
                continue
            try:
                x, y, w, h = (float(side) for side in entry["bbox"])
            except (KeyError, TypeError, ValueError):
                x, y, w, h = 0.0, 0.0, 0.0, 0.0
            box = clipped((x, y, w, h), image["width"], image["height"])
            if box is None:
                self.left_out["annotations left out: their box has no area in the image"] += 1
                continue
            found = CocoObject(entry, name, box, self._mask(entry, image), is_crowd(entry.get("iscrowd")))
            if found.iscrowd and not crowds:
                self.left_out["crowd regions left out"] += 1
                continue
            yield found

    def _mask(self, entry: Mapping[str, Any], image: Mapping[str, Any]) -> Mask | None:
        segmentation = entry.get("segmentation")
        if mask_is_absent(segmentation):
            return None
        if segmentation_fault(segmentation, height=image["height"], width=image["width"]) is not None:
            self.left_out["masks left out: broken"] += 1
            return None
        if isinstance(segmentation, dict):
            return dict(segmentation)
        return [
            [float(side) for side in polygon] for polygon in segmentation or () if not polygons_are_empty([polygon])
        ]

    def polygons(self, found: CocoObject, image: Mapping[str, Any]) -> list[list[float]]:
        """The mask of an object as polygons, none where it has no mask; holes of an RLE are filled, and counted."""
        if found.mask is None:
            return []
        if isinstance(found.mask, list):
            return found.mask
        rle = segmentation_to_rle(found.mask, image["height"], image["width"])
        outline = outline_of(np.asarray(coco_mask.decode(rle)))
        self.left_out["masks in RLE written as polygons"] += 1
        if outline.holes:
            self.left_out["masks in RLE with holes, which polygons fill"] += 1
        return outline.polygons
