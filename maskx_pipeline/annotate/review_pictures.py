"""The pictures of a review: for each mask the part of its image around the box, and the mask as a path on top."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.annotate.review_items import ReviewItem
from maskx_pipeline.data.images import read_pixels
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.data.polygon_area import SHORTEST_POLYGON
from maskx_pipeline.data.polygons import rings_of
from maskx_pipeline.data.records import Annotation, CocoData, ImageRecord
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.text import shown

logger = logging.getLogger("maskx")

_LONGEST_SIDE = 320
_QUALITY = 70
_MARGIN = 0.2  # around the box, of its longer side
_LEAST_MARGIN = 8.0  # pixels
PER_FOLDER = 1000


def picture_name(rank: int) -> str:
    """The file of a picture: by its place in the list, never by a name of the data."""
    return f"crops/{rank // PER_FOLDER:03d}/{rank:06d}.webp"


def write_pictures(folder: Path, data: CocoData, items: Sequence[ReviewItem]) -> list[list[Any]]:
    """Write the crops; each image is read once.

    Returns:
        For each item what the page needs to draw it: file name, reason, whether there is a picture, width and height
        of the crop, box (x, y, width, height) and path of the mask in pixels of the crop.
    """
    by_image: dict[int, list[int]] = {}
    for rank, item in enumerate(items):
        by_image.setdefault(item.image.id, []).append(rank)
    details: list[list[Any]] = [[] for _ in items]
    for number in range(0, len(items), PER_FOLDER):
        (folder / picture_name(number)).parent.mkdir(parents=True)
    with Progress(len(by_image), "draw the review", "images") as bar:
        for image_id, ranks in by_image.items():
            image = data.image(image_id)
            try:
                pixels = read_pixels(data.image_path(image_id), width=image.width, height=image.height)
            except DataError as error:
                logger.warning("%s Its masks are shown without a picture.", error.message)
                pixels = None
            for rank in ranks:
                details[rank] = _detail(
                    folder / picture_name(rank), pixels, items[rank], data.annotations()[items[rank].row]
                )
            bar.update(1)
    return details


def _detail(path: Path, pixels: NDArray[np.uint8] | None, item: ReviewItem, annotation: Annotation) -> list[Any]:
    x1, y1, x2, y2 = annotation.box_xyxy
    margin = max(_LEAST_MARGIN, _MARGIN * max(x2 - x1, y2 - y1))
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(item.image.width, int(x2 + margin) + 1), min(item.image.height, int(y2 + margin) + 1)
    if pixels is not None:
        crop = Image.fromarray(pixels[top:bottom, left:right])
        crop.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        with atomic_path(path, sync=False) as temporary:
            crop.save(temporary, format="WEBP", quality=_QUALITY, method=2)
    box = [round(number, 1) for number in (x1 - left, y1 - top, x2 - x1, y2 - y1)]
    shape = [right - left, bottom - top]
    return [
        shown(item.image.file_name),
        item.reason,
        int(pixels is not None),
        *shape,
        *box,
        _path(annotation, item.image, left, top),
    ]


def _path(annotation: Annotation, image: ImageRecord, left: int, top: int) -> str:
    """The mask as the path of an SVG, filled by the even-odd rule."""
    segmentation = annotation.segmentation
    if isinstance(segmentation, list):
        rings = [
            np.reshape(np.asarray(polygon, dtype=float), (-1, 2))
            for polygon in segmentation
            if len(polygon) >= SHORTEST_POLYGON
        ]
    else:
        rle = segmentation_to_rle(segmentation, image.height, image.width)
        rings = rings_of(np.asarray(coco_mask.decode(rle), dtype=np.uint8))
    pieces = []
    for ring in rings:
        points = np.round(ring - (left, top), 1)
        pieces.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z")
    return "".join(pieces)
