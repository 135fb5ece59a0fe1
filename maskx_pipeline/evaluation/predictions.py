"""COCO results of a whole data set, from the RoI cache or from the images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import Category, CocoData, ImageRecord
from maskx_pipeline.data.images import read_image
from maskx_pipeline.detection.detector import Detections
from maskx_pipeline.engine.sharing import each_of
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.paste import paste_to_rle
from maskx_pipeline.evaluation.tiled_objects import TiledObjects
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.whole_model import Instances, WholeModel, masks_of


def predictions_from_cache(
    cache: RoICache,
    mask_model: MaskModel,
    val: CocoData,
    *,
    device: torch.device,
    amp_dtype: torch.dtype | None,
    image_ids: Collection[int] | None = None,
    group: Literal["detections", "ground_truth"] = "detections",
    labels: Collection[int] | None = None,
) -> list[Result]:
    """Segment the cached detections of val.

    Args:
        mask_model: T and the mask head; it is moved to the device and put into evaluation mode.
        amp_dtype: Precision of the mask head; None is float32.
        image_ids: Only these images; all of them if not given.
        group: ``ground_truth`` takes the objects of val as detections, of score 1 and of their true categories, which
            judges masks apart from the detector.
        labels: Only detections of these categories; of all of them if not given.

    Returns:
        COCO results with ``bbox`` and ``segmentation``, by image in the order of ``val``. Where several processes share
        the images, the main one has them all, and the others none.

    Raises:
        CacheError: The cache was made from other validation data.
    """
    cache.check_matches(val_digest=val.digest)
    mask_model.eval().to(device)
    found = cache.detections if group == "detections" else cache.ground_truth
    rows_of = rows_by_image(found.image_ids)
    images = [image for image in val.images if image_ids is None or image.id in image_ids]

    def segment(image: ImageRecord) -> list[Result]:
        rows = rows_of.get(image.id)
        if rows is not None and labels is not None:
            rows = rows[np.isin(found.labels[rows], sorted(labels))]
        if rows is None or not len(rows):
            return []
        here, features = found.at(rows), cache.read_features(group, rows)
        mask_probs = masks_of(mask_model, features, here.labels, device=device, amp_dtype=amp_dtype)
        return results_of(Instances(here.boxes_xyxy, here.scores, here.labels, mask_probs), image, val.categories)

    return [result for part in each_of(images, segment, desc="segment cached detections") for result in part]


def predictions_from_images(model: WholeModel, val: CocoData) -> list[Result]:
    """Detect and segment in the images of val.

    Returns:
        COCO results with ``bbox`` and ``segmentation``, by image in the order of ``val``; equal to those of
        :func:`predictions_from_cache` if the cache was written on the same kind of device. Where several processes
        share the images, the main one has them all, and the others none.

    Raises:
        DataError: An image cannot be read.
    """

    def segment(image: ImageRecord) -> list[Result]:
        return results_of(model.predict(read_scaled(val, image)), image, val.categories)

    return [result for part in each_of(val.images, segment, desc="segment images") for result in part]


def results_of(instances: Instances | TiledObjects, image: ImageRecord, categories: Sequence[Category]) -> list[Result]:
    """The instances of one image as COCO results with ``bbox`` and ``segmentation``; categories by ascending label."""
    boxes = box_results_of(instances, image, categories)
    if isinstance(instances, TiledObjects):
        masks = list(instances.rles)
    else:
        masks = paste_to_rle(instances.mask_probs, instances.boxes_xyxy, image.height, image.width)
    return [{**box, "segmentation": mask} for box, mask in zip(boxes, masks, strict=True)]


def box_results_of(found: Detections, image: ImageRecord, categories: Sequence[Category]) -> list[Result]:
    """The detections of one image as COCO results with ``bbox``: x, y, width, height in pixels."""
    boxes_xywh = found.boxes_xyxy.double().cpu()
    boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
    return [
        {"image_id": image.id, "category_id": categories[label - 1].id, "bbox": box, "score": score}
        for box, score, label in zip(
            boxes_xywh.tolist(), found.scores.double().tolist(), found.labels.tolist(), strict=True
        )
    ]


def rows_by_image(image_ids: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """The rows of each image that has any, in the order of the cache."""
    if not len(image_ids):
        return {}
    order = np.argsort(image_ids, kind="stable")
    starts = np.flatnonzero(np.diff(image_ids[order])) + 1
    return {int(image_ids[rows[0]]): rows for rows in np.split(order, starts)}


def read_scaled(data: CocoData, image: ImageRecord) -> torch.Tensor:
    """The pixels of an image, FloatTensor[3, H, W] in 0..1."""
    pixels = read_image(data.image_path(image.id), width=image.width, height=image.height)
    return pixels.float().div_(255)
