"""COCO results of the frozen detector with GrabCut masks: Faster R-CNN tested with GrabCut (paper, Table 2)."""

from __future__ import annotations

import contextlib

import numpy as np

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.predictions import box_results_of, rows_by_image
from maskx_pipeline.teachers.grabcut import GrabCut, segment_images


def predictions_by_grabcut(
    cache: RoICache, val: CocoData, *, grabcut: GrabCut, workers: int
) -> tuple[list[Result], int]:
    """Give each cached detection of val the foreground of its box.

    Returns:
        COCO results with ``bbox`` and ``segmentation``, by image in the order of ``val``; and how many of them have
        the whole box as their mask, since GrabCut found nothing.

    Raises:
        CacheError: The cache was made from other validation data.
        DataError: An image cannot be read.
    """
    cache.check_matches(val_digest=val.digest)
    rows_of = rows_by_image(cache.detections.image_ids)
    nothing = np.empty(0, dtype=np.int64)
    found = {image.id: cache.detections.at(rows_of.get(image.id, nothing)) for image in val.images}
    work = ((image, found[image.id], found[image.id].boxes_xyxy.tolist()) for image in val.images)
    results: list[Result] = []
    whole = 0
    with (
        Progress(len(val.images), "GrabCut on cached detections", "images") as bar,
        contextlib.closing(segment_images(grabcut, val, work, workers=workers)) as segmented,
    ):
        for image, detections, masks in segmented:
            boxes = box_results_of(detections, image, val.categories)
            results += [{**box, "segmentation": mask.segmentation} for box, mask in zip(boxes, masks, strict=True)]
            whole += sum(not mask.found for mask in masks)
            bar.update(1)
    return results, whole
