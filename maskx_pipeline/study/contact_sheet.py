"""Predictions of several models for the same images as one picture, as in the paper's Figures 4 and 5."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.data.records import Category, CocoData
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.evaluation.given_images import GivenImage
from maskx_pipeline.evaluation.label_fonts import drawable_name, names_to_draw
from maskx_pipeline.evaluation.overlays import draw_instances, draw_objects, scaled_picture
from maskx_pipeline.evaluation.predict_images import predict_image, readable_images
from maskx_pipeline.provenance.files import real_path
from maskx_pipeline.whole_model import WholeModel

logger = logging.getLogger("maskx")

CELL = 560  # pixels: the width of a cell, and its largest height


@dataclass(frozen=True, slots=True)
class SheetImage:
    """An image (uint8[3, H, W], RGB), its caption, and the factor that fits it into the sheet's cells."""

    path: Path
    name: str
    pixels: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A picture for each image, under one name: those of a model, or the ground truth."""

    name: str
    pictures: tuple[Image.Image, ...]


def read_sheet_images(images: Sequence[GivenImage], *, limit: int) -> list[SheetImage]:
    """Read the first images.

    Raises:
        DataError: There is none that can be read. An unreadable one among others is skipped with a warning.
    """
    found = images
    if limit and len(found) > limit:
        logger.info("Taking the first %d of %d images; --limit takes more.", limit, len(found))
        found = found[:limit]
    read = readable_images(image.path for image in found)
    return [
        SheetImage(image.path, image.name, pixels, CELL / max(pixels.shape[1:]))
        for image, (_, pixels) in zip(found, read, strict=True)
        if pixels is not None
    ]


def predicted_row(
    name: str,
    model: WholeModel,
    images: Sequence[SheetImage],
    *,
    categories: Sequence[Category],
    seen: Collection[int],
    score_threshold: float,
    bar: Progress,
) -> SheetRow:
    """Segment all images with one model.

    Args:
        seen: Labels whose masks were used in training: green; all others red and hatched.
    """
    names = names_to_draw(categories)
    pictures = []
    for image in images:
        instances = predict_image(model, image.pixels, score_threshold=score_threshold)
        pictures.append(
            draw_instances(
                image.pixels, instances, names=names, seen=seen, score_threshold=score_threshold, scale=image.scale
            )
        )
        bar.update(1)
    return SheetRow(name, tuple(pictures))


def truth_row(name: str, images: Sequence[SheetImage], data: CocoData, *, seen: Collection[int]) -> SheetRow:
    """Draw the annotations of the images: boxes, and masks where there are any; crowd regions are left out.

    Raises:
        ConfigError: An image is not one of ``data``.
    """
    ids = {real_path(data.image_path(image.id)): image.id for image in data.images}
    pictures = []
    for image in images:
        if real_path(image.path) not in ids:
            raise ConfigError(
                f"{image.path} is none of the images of {data.path}, so there is no ground truth for it.",
                f"give images of {data.image_dir}, or leave --truth out",
            )
        pictures.append(_draw_truth(image, data, ids[real_path(image.path)], seen))
    return SheetRow(name, tuple(pictures))


def _draw_truth(image: SheetImage, data: CocoData, image_id: int, seen: Collection[int]) -> Image.Image:
    picture = scaled_picture(image.pixels.permute(1, 2, 0).contiguous().numpy(), image.scale)
    record = data.image(image_id)
    objects = [annotation for annotation in data.annotations_of(image_id) if not annotation.iscrowd]
    masks = np.zeros((len(objects), picture.height, picture.width), dtype=np.uint8)
    for mask, annotation in zip(masks, objects, strict=True):
        if annotation.has_mask:
            rle = segmentation_to_rle(annotation.segmentation, record.height, record.width)
            mask[:] = np.asarray(Image.fromarray(coco_mask.decode(rle)).resize(picture.size, Image.Resampling.NEAREST))
    boxes = np.array([annotation.box_xyxy for annotation in objects], dtype=np.float32).reshape(-1, 4)
    labels = [annotation.label for annotation in objects]
    texts = [drawable_name(data.category(label)) for label in labels]
    return draw_objects(picture, boxes * (picture.width / record.width), masks, labels=labels, texts=texts, seen=seen)
