"""Average precision of COCO results on a category set, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskx_pipeline.data.annotation_file import read_annotation_file
from maskx_pipeline.data.coco import Annotation, CocoData
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.errors import DataError

IouType = Literal["bbox", "segm"]
Result = dict[str, Any]

_ALL, _SMALL, _MEDIUM, _LARGE = range(4)  # the area ranges of pycocotools, in its order
_IOU_50, _IOU_75 = 0, 5  # of the thresholds .50, .55, .., .95


@dataclass(frozen=True, slots=True)
class ApSummary:
    """The six figures of COCO for one category set, in percent (0..100); nan where there is nothing to measure.

    Attributes:
        ap: Mean over the IoU thresholds .50:.05:.95 and the categories.
        ap50: At IoU .50.
        ap75: At IoU .75.
        ap_small: Of objects below 32 x 32 pixels.
        ap_medium: Of objects between 32 x 32 and 96 x 96 pixels.
        ap_large: Of objects above 96 x 96 pixels.
        per_category: Label -> AP.
        unmeasured: Labels of the set that val has no object of (for masks: none with a mask); no figure counts them.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    per_category: Mapping[int, float]
    unmeasured: tuple[int, ...]

    def figures(self) -> tuple[float, ...]:
        """AP, AP50, AP75, APS, APM, APL."""
        return self.ap, self.ap50, self.ap75, self.ap_small, self.ap_medium, self.ap_large


@dataclass(frozen=True, slots=True)
class ApTable:
    """The precision of every category, from which the AP of any category set follows without another evaluation.

    Attributes:
        labels: The measured labels, in the order of the columns.
        precision: float64[10 IoU thresholds, 101 recalls, K labels, 4 area ranges], 0..1; -1: nothing to measure.
    """

    labels: tuple[int, ...]
    precision: NDArray[np.float64]

    def summary(self, labels: Collection[int]) -> ApSummary:
        """The figures of a category set; the same as an evaluation restricted to it.

        Raises:
            KeyError: A label that was not measured.
        """
        missing = set(labels) - set(self.labels)
        if missing:
            raise KeyError(f"labels {sorted(missing)} are not in this table")
        columns = [column for column, label in enumerate(self.labels) if label in set(labels)]
        chosen = self.precision[:, :, columns]
        per_category = {self.labels[column]: _mean(self.precision[:, :, column, _ALL]) for column in columns}
        return ApSummary(
            ap=_mean(chosen[..., _ALL]),
            ap50=_mean(chosen[_IOU_50, ..., _ALL]),
            ap75=_mean(chosen[_IOU_75, ..., _ALL]),
            ap_small=_mean(chosen[..., _SMALL]),
            ap_medium=_mean(chosen[..., _MEDIUM]),
            ap_large=_mean(chosen[..., _LARGE]),
            per_category=per_category,
            unmeasured=tuple(label for label, ap in per_category.items() if np.isnan(ap)),
        )


def average_precision(
    ground_truth: CocoData, results: Sequence[Result], *, labels: Collection[int], iou_type: IouType
) -> ApSummary:
    """The AP of one category set. Arguments are those of :func:`precision_table`."""
    return precision_table(ground_truth, results, labels=labels, iou_type=iou_type).summary(labels)


def precision_table(
    ground_truth: CocoData,
    results: Sequence[Result],
    *,
    labels: Collection[int],
    iou_type: IouType,
    image_ids: Collection[int] | None = None,
) -> ApTable:
    """Match results to ground truth with pycocotools.

    In ``segm`` an object without a mask cannot be judged: it is made a region to ignore, shaped like its box, so that
    a detection on it counts neither way. Boxes and areas are those of the annotation file, unclipped.

    Args:
        ground_truth: The data set; images without annotations count (their detections are false).
        results: COCO results: ``image_id``, ``category_id``, ``score``, and ``bbox`` (x, y, w, h in pixels) or
            ``segmentation`` (RLE). Not changed.
        labels: The category set.
        iou_type: ``bbox``: IoU of boxes; ``segm``: IoU of masks.
        image_ids: The images to measure; all of them if not given.

    Raises:
        DataError: A result of an image that the data set does not have.
    """
    ordered = sorted(labels, key=lambda label: ground_truth.category(label).id)
    images = {image.id for image in ground_truth.images}
    measured = images if image_ids is None else images & set(image_ids)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        coco = _ground_truth(ground_truth, set(ordered), measured, iou_type)
        detections = _detections(coco, _of_images(results, images, measured, ground_truth), iou_type)
        evaluation = COCOeval(coco, detections, iou_type)
        evaluation.params.catIds = [ground_truth.category(label).id for label in ordered]
        if ordered and measured:
            evaluation.evaluate()
            evaluation.accumulate()
    if not ordered or not measured:
        return ApTable(labels=tuple(ordered), precision=np.full((10, 101, len(ordered), 4), -1.0))
    return ApTable(labels=tuple(ordered), precision=evaluation.eval["precision"][..., -1])


def _ground_truth(data: CocoData, labels: set[int], image_ids: set[int], iou_type: IouType) -> COCO:
    boxes_xywh = _boxes_of_file(data)
    chosen = [
        annotation
        for image in data.images
        if image.id in image_ids
        for annotation in data.annotations_of(image.id)
        if annotation.label in labels
    ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i.id, "height": i.height, "width": i.width} for i in data.images if i.id in image_ids],
        "categories": [{"id": category.id, "name": category.name} for category in data.categories],
        # Numbered from 1, because pycocotools takes a match with annotation 0 for no match.
        "annotations": [
            _object(data, annotation, boxes_xywh, number, iou_type) for number, annotation in enumerate(chosen, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _object(
    data: CocoData, annotation: Annotation, boxes_xywh: Mapping[int, list[float]], number: int, iou_type: IouType
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": number,
        "image_id": annotation.image_id,
        "category_id": data.category(annotation.label).id,
        "bbox": boxes_xywh[annotation.id],
        "area": annotation.area,
        "iscrowd": int(annotation.iscrowd),
    }
    if iou_type == "segm":
        image = data.image(annotation.image_id)
        if annotation.has_mask:
            entry["segmentation"] = segmentation_to_rle(annotation.segmentation, image.height, image.width)
        else:
            x1, y1, x2, y2 = annotation.box_xyxy
            box = np.array([[x1, y1, x2 - x1, y2 - y1]], dtype=np.float64)
            entry["segmentation"] = coco_mask.frPyObjects(box, image.height, image.width)[0]
            entry["iscrowd"] = 1
    return entry


def _boxes_of_file(data: CocoData) -> dict[int, list[float]]:
    # read_coco clips boxes to the image; COCO's evaluation does not.
    lists, _ = read_annotation_file(data.path)
    return {entry["id"]: entry["bbox"] for entry in reversed(lists["annotations"])}  # the first of two with one id


def _of_images(results: Iterable[Result], images: set[int], measured: set[int], data: CocoData) -> list[Result]:
    chosen = []
    for result in results:
        if result["image_id"] not in images:
            raise DataError(
                f"The results hold image {result['image_id']}, which {data.path} does not have.",
                "evaluate with the annotation file that the results were made for",
            )
        if result["image_id"] in measured:
            chosen.append(result)
    return chosen


def _detections(coco: COCO, results: Sequence[Result], iou_type: IouType) -> COCO:
    # Left with both, pycocotools would take a mask's area from its box, and so its size range.
    unused = "bbox" if iou_type == "segm" else "segmentation"
    entries = [{key: value for key, value in result.items() if key != unused} for result in results]
    if entries:
        return coco.loadRes(entries)
    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _mean(precision: NDArray[np.float64]) -> float:
    measured = precision[precision > -1]
    return float(np.mean(measured)) * 100 if measured.size else float("nan")
