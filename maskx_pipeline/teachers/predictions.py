"""COCO results of val with a teacher's masks: at the cached detections, or at the boxes that val gives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import CocoData, ImageRecord
from maskx_pipeline.detection.detector import Detections
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.engine.sharing import shared_out
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.predictions import box_results_of, rows_by_image
from maskx_pipeline.teachers.segment import segment_images
from maskx_pipeline.teachers.teacher import Teacher


def predictions_by_teacher(
    teacher: Teacher, val: CocoData, cache: RoICache | None, *, workers: int
) -> tuple[list[Result], int]:
    """Give each box of val a teacher's mask.

    Args:
        cache: Its detections are taken; without one the objects of val as a perfect detector would find them, of score
            1, and then a mask ends at its box.

    Returns:
        COCO results with ``bbox`` and ``segmentation``, by image in the order of ``val``; and how many of them have
        the whole box as their mask, since the teacher found nothing. Where several processes share the images, the
        main one has them all, and the others none.

    Raises:
        CacheError: The cache was made from other validation data.
        DataError: An image cannot be read, or the teacher gives something else than masks.
    """
    found = _given(val) if cache is None else _detected(cache, val)

    def of_images(images: Sequence[ImageRecord]) -> Iterator[tuple[list[Result], int]]:
        work = ((image, found[image.id], found[image.id].boxes_xyxy.tolist()) for image in images)
        with contextlib.closing(segment_images(teacher, val, work, workers=workers, cut=cache is None)) as segmented:
            for image, detections, masks in segmented:
                boxes = box_results_of(detections, image, val.categories)
                here = [{**box, "segmentation": mask.segmentation} for box, mask in zip(boxes, masks, strict=True)]
                yield here, sum(not mask.found for mask in masks)

    results: list[Result] = []
    whole = 0
    with (
        Progress(len(val.images), "the teacher's masks", "images") as bar,
        contextlib.closing(shared_out(val.images, of_images)) as shared,
    ):
        for of_image, without in shared:
            results += of_image
            whole += without
            bar.update(1)
    return results, whole


def _detected(cache: RoICache, val: CocoData) -> dict[int, Detections]:
    cache.check_matches(val_digest=val.digest)
    rows_of = rows_by_image(cache.detections.image_ids)
    nothing = np.empty(0, dtype=np.int64)
    return {image.id: cache.detections.at(rows_of.get(image.id, nothing)) for image in val.images}


def _given(val: CocoData) -> dict[int, Detections]:
    return {image.id: _objects(val, image) for image in val.images}


def _objects(val: CocoData, image: ImageRecord) -> Detections:
    objects = [annotation for annotation in val.annotations_of(image.id) if not annotation.iscrowd]
    return Detections(
        boxes_xyxy=torch.tensor([o.box_xyxy for o in objects], dtype=torch.float64).reshape(-1, 4),
        scores=torch.ones(len(objects)),
        labels=torch.tensor([o.label for o in objects], dtype=torch.int64),
    )
