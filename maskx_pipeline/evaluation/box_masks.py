"""Masks at given boxes: those of a mask model, of shapes drawn in the box, and of a file, for each object of val."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.masks import pixels_of_box, segmentation_fault, segmentation_to_rle
from maskx_pipeline.data.records import Annotation, CocoData, ImageRecord
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import each_of
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.box_iou import ELLIPSE, SHAPES, BoxIou
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.evaluate import read_results
from maskx_pipeline.evaluation.paste import encode_crop, paste_to_rle
from maskx_pipeline.evaluation.predictions import (
    box_results_of,
    predictions_from_cache,
    read_scaled,
    results_of,
    rows_by_image,
)
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.whole_model import WholeModel

Rle = dict[str, Any]
_THIN = 1e-9  # pixels: what a detector finds may have no width
_SAME_BOX = 0.5  # IoU from which a mask of a file that names no annotation is taken for that of an object


def objects_of(val: CocoData) -> list[tuple[ImageRecord, list[Annotation]]]:
    """The images of val that have objects, with these; crowds are left out."""
    pairs = ((image, [a for a in val.annotations_of(image.id) if not a.iscrowd]) for image in val.images)
    return [(image, annotations) for image, annotations in pairs if annotations]


def masks_from_cache(
    cache: RoICache,
    mask_model: MaskModel,
    val: CocoData,
    *,
    device: torch.device,
    amp_dtype: torch.dtype | None,
    labels: Collection[int] | None = None,
) -> dict[int, Rle]:
    """The masks of a model in the true boxes of val, by annotation id, from cached RoI features.

    Where several processes share the images, the main one has them all, and the others none.

    Args:
        labels: Only objects of these categories; all if not given.
    """
    results = predictions_from_cache(
        cache, mask_model, val, device=device, amp_dtype=amp_dtype, group="ground_truth", labels=labels
    )
    if not distributed.is_main():
        return {}
    rows_of = rows_by_image(cache.ground_truth.image_ids)
    rows = np.array([row for image in val.images if image.id in rows_of for row in rows_of[image.id]], dtype=np.int64)
    if labels is not None:
        rows = rows[np.isin(cache.ground_truth.labels[rows], sorted(labels))]
    ids = cache.ground_truth.annotation_ids[rows].tolist()
    return {id_: result["segmentation"] for id_, result in zip(ids, results, strict=True)}


def predictions_and_masks_from_images(model: WholeModel, val: CocoData) -> tuple[list[Result], dict[int, Rle]]:
    """What `predictions_from_images` gives, and the masks in the true boxes, by one look of the detector at each image.

    The masks equal those of `masks_from_cache` if the cache was written on the same kind of device. Where several
    processes share the images, the main one has them all, and the others none.
    """
    objects = {image.id: annotations for image, annotations in objects_of(val)}

    def segment(image: ImageRecord) -> tuple[list[Result], dict[int, Rle]]:
        annotations = objects.get(image.id, [])
        boxes = torch.tensor([a.box_xyxy for a in annotations], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor([a.label for a in annotations], dtype=torch.int64)
        instances, mask_probs = model.predict_and_segment(read_scaled(val, image), boxes, labels)
        masks = paste_to_rle(mask_probs, boxes, image.height, image.width)
        of_boxes = {annotation.id: mask for annotation, mask in zip(annotations, masks, strict=True)}
        return results_of(instances, image, val.categories), of_boxes

    results: list[Result] = []
    found: dict[int, Rle] = {}
    for of_image, of_boxes in each_of(val.images, segment, desc="segment images"):
        results += of_image
        found |= of_boxes
    return results, found


def shapes_in_boxes(val: CocoData, *, masked: bool = False) -> dict[str, dict[int, Rle]]:
    """The filled box and the ellipse in it, :data:`SHAPES`, for each object: the pixels whose centre lies inside.

    Args:
        masked: Only for objects that have a mask to compare with.
    """
    found: dict[str, dict[int, Rle]] = {name: {} for name in SHAPES}
    for image, objects in objects_of(val):
        for annotation in (one for one in objects if one.has_mask or not masked):
            for name in SHAPES:
                found[name][annotation.id] = _shape(name, annotation.box_xyxy, image)
    return found


def shapes_in_detections(shape: str, cache: RoICache, val: CocoData, *, labels: Collection[int]) -> list[Result]:
    """The cached detections of some categories, each with one of :data:`SHAPES` in its box as its mask."""
    found = cache.detections
    chosen = np.flatnonzero(np.isin(found.labels, sorted(labels)))
    rows_of = rows_by_image(found.image_ids[chosen])
    results: list[Result] = []
    for image in val.images:
        here = found.at(chosen[rows_of.get(image.id, np.zeros(0, dtype=np.int64))])
        boxes = box_results_of(here, image, val.categories)
        masks = [_shape(shape, box_xyxy, image) for box_xyxy in here.boxes_xyxy.tolist()]
        results += [{**box, "segmentation": mask} for box, mask in zip(boxes, masks, strict=True)]
    return results


def measure_box_iou(val: CocoData, sources: Mapping[str, Mapping[int, Rle]]) -> BoxIou:
    """Compare masks with the true ones of val, at the resolution of the images; crowds are left out.

    Args:
        sources: By source, its masks by annotation id. An object without one is left out of that source; where
            no source has one, the true mask is not even read.
    """
    rows: list[tuple[int, int, int]] = []
    ious: dict[str, list[float]] = {name: [] for name in sources}
    for image, objects in objects_of(val):
        for annotation in objects:
            if not annotation.has_mask or not any(annotation.id in masks for masks in sources.values()):
                continue
            true = segmentation_to_rle(annotation.segmentation, image.height, image.width)
            rows.append((annotation.id, image.id, annotation.label))
            for name, masks in sources.items():
                mask = masks.get(annotation.id)
                ious[name].append(math.nan if mask is None else mask_iou(mask, true))
    ids, image_ids, labels = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    measured = {name: np.array(values, dtype=np.float64) for name, values in ious.items()}
    return BoxIou(ids, image_ids, labels, measured)


def mask_iou(first: Rle, second: Rle) -> float:
    """The IoU of two masks of one image, 0..1."""
    return float(coco_mask.iou([first], [second], [0])[0, 0])


def masks_from_file(path: Path, val: CocoData) -> dict[int, Rle]:
    """Masks that anything else made of the boxes of val, by annotation id: COCO results, or a COCO annotation file.

    An entry belongs to the object with its annotation id where that is of the same image and category (only in an
    annotation file); else to the object of its image and category whose box overlaps its own most, with an IoU of 0.5
    or more. An object gets one mask at most.

    Raises:
        DataError: The file cannot be read, or none of its masks belongs to an object of val.
    """
    entries = _read_entries(path)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        if isinstance(entry.get("image_id"), int):
            by_image.setdefault(entry["image_id"], []).append(entry)
    found: dict[int, Rle] = {}
    for image, objects in objects_of(val):
        masks = [(entry, rle) for entry in by_image.get(image.id, ()) if (rle := _rle(entry, image)) is not None]
        for annotation, rle in _belonging(masks, objects, val):
            found[annotation.id] = rle
    if not found:
        raise DataError(
            f"No mask of {path} belongs to an object of {val.path}.",
            "give COCO results, or an annotation file, with masks of the same images, categories and boxes",
        )
    return found


def _read_entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "give COCO results or a COCO annotation file") from error
    boxes = path.with_name(f"{path.stem}_bbox{path.suffix}")
    if isinstance(content, list) and boxes.is_file():  # results of maskx, which has masks and boxes in two files
        content = read_results(path)
    entries = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path} is neither a list of COCO results nor a COCO annotation file.")
    return [entry for entry in entries if entry.get("segmentation") and not entry.get("iscrowd")]


def _rle(entry: Mapping[str, Any], image: ImageRecord) -> Rle | None:
    """The mask of an entry; None where it cannot be read."""
    if segmentation_fault(entry["segmentation"], height=image.height, width=image.width):
        return None
    return segmentation_to_rle(entry["segmentation"], image.height, image.width)


def _belonging(
    masks: Sequence[tuple[dict[str, Any], Rle]], annotations: Sequence[Annotation], val: CocoData
) -> Iterator[tuple[Annotation, Rle]]:
    category_id = {annotation.id: val.category(annotation.label).id for annotation in annotations}
    left = {annotation.id: annotation for annotation in annotations}
    others = []
    for entry, rle in masks:
        id_ = entry.get("id")
        if isinstance(id_, int) and id_ in left and category_id[id_] == entry.get("category_id"):
            yield left.pop(id_), rle
        else:
            others.append((entry, rle))
    if not others or not left:
        return
    objects = list(left.values())
    boxes = np.array([_box_of(entry, rle) for entry, rle in others], dtype=np.float64)
    true_boxes = np.array([annotation.box_xyxy for annotation in objects], dtype=np.float64)
    true_boxes[:, 2:] -= true_boxes[:, :2]
    ious = coco_mask.iou(boxes, true_boxes, [0] * len(objects))
    same = [[entry.get("category_id") == category_id[a.id] for a in objects] for entry, _ in others]
    ious = np.where(same, ious, 0.0)
    while ious.size and ious.max() >= _SAME_BOX:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        yield objects[int(column)], others[int(row)][1]
        ious[row], ious[:, column] = 0.0, 0.0


def _box_of(entry: Mapping[str, Any], rle: Rle) -> Sequence[float]:
    """x, y, width, height: as the entry says, or around its mask."""
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(isinstance(n, int | float) for n in box):
        return box
    around: list[float] = coco_mask.toBbox(rle).tolist()
    return around


def _shape(shape: str, box_xyxy: Sequence[float], image: ImageRecord) -> Rle:
    """The part of a shape in a box that lies in the image."""
    x1, y1, x2, y2 = box_xyxy
    left, top, right, bottom = pixels_of_box(box_xyxy, image.height, image.width)
    inside = np.ones((bottom - top, right - left), dtype=np.bool_)
    if shape == ELLIPSE:
        across = ((np.arange(left, right) + 0.5 - (x1 + x2) / 2) / max((x2 - x1) / 2, _THIN)) ** 2
        down = ((np.arange(top, bottom) + 0.5 - (y1 + y2) / 2) / max((y2 - y1) / 2, _THIN)) ** 2
        inside = down[:, None] + across[None, :] <= 1
    return encode_crop(inside, top, left, image.height, image.width)
