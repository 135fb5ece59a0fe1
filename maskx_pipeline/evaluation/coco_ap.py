"""Average precision of COCO results on a category set: the numbers of pycocotools, to the last digit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from maskx_pipeline.data.coco import Annotation, CocoData
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS
from maskx_pipeline.evaluation.federated import Federated, federated_of
from maskx_pipeline.evaluation.matching import (
    PRECISION_SHAPE,
    RECALL_SHAPE,
    Found,
    Objects,
    Shape,
    precision_and_recall,
)

IouType = Literal["bbox", "segm"]
Result = dict[str, Any]

_ALL, _SMALL, _MEDIUM, _LARGE = range(4)  # the area ranges of pycocotools, in its order
_IOU_50, _IOU_75 = 0, 5  # of the thresholds .50, .55, .., .95


@dataclass(frozen=True, slots=True)
class ApSummary:
    """The figures of COCO for one category set, in percent (0..100); nan where there is nothing to measure.

    Attributes:
        ap: Mean over the IoU thresholds .50:.05:.95 and the categories.
        ap50: At IoU .50.
        ap75: At IoU .75.
        ap_small: Of objects below 32 x 32 pixels.
        ap_medium: Of objects between 32 x 32 and 96 x 96 pixels.
        ap_large: Of objects above 96 x 96 pixels.
        ar: Average recall, the mean over the same thresholds and categories: the share of objects that is found.
        per_category: Label -> AP.
        unmeasured: Labels of the set that val has no object of (for masks: none with a mask); no figure counts them.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar: float
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
        recall: float64[10, K, 4], likewise.
    """

    labels: tuple[int, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    def summary(self, labels: Collection[int]) -> ApSummary:
        """The figures of a category set; the same as an evaluation restricted to it.

        Raises:
            KeyError: A label that was not measured.
        """
        missing = set(labels) - set(self.labels)
        if missing:
            raise KeyError(f"labels {sorted(missing)} are not in this table")
        wanted = set(labels)
        columns = [column for column, label in enumerate(self.labels) if label in wanted]
        per_category = {self.labels[column]: _mean(self.precision[:, :, column, _ALL]) for column in columns}
        return ApSummary(
            *_figures(self.precision[:, :, columns]),
            ar=_mean(self.recall[:, columns, _ALL]),
            per_category=per_category,
            unmeasured=tuple(label for label, ap in per_category.items() if np.isnan(ap)),
        )

    def figures_of(self, label: int) -> tuple[float, ...]:
        """AP, AP50, AP75, APS, APM, APL of one category; those of a category set are the means of these."""
        column = self.labels.index(label)
        return _figures(self.precision[:, :, column : column + 1])

    def recall_of(self, label: int) -> float:
        """The average recall of one category, in percent."""
        return _mean(self.recall[:, self.labels.index(label), _ALL])


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
    most: int = MOST_DETECTIONS,
) -> ApTable:
    """Match results to ground truth, as pycocotools does.

    In ``segm`` an object without a mask cannot be judged: it is made a region to ignore, shaped like its box, so that
    a detection on it counts neither way. Boxes and areas are those of the annotation file, unclipped.

    Where the images of the data set say what was looked for in them, as in LVIS, a category is measured only in images
    that have an object of it or are known to have none, and in images of which not all its objects are annotated a
    detection that matches nothing counts neither way.

    Args:
        ground_truth: The data set; images without annotations count (their detections are false).
        results: COCO results: ``image_id``, ``category_id``, ``score``, and ``bbox`` (x, y, w, h in pixels) or
            ``segmentation`` (RLE). Not changed.
        iou_type: ``bbox``: IoU of boxes; ``segm``: IoU of masks.
        image_ids: The images to measure; all of them if not given.
        most: The detections of an image and category that count, the best ones; with another number than COCO's 100
            the figures are not COCO's.

    Raises:
        DataError: A result of an image that the data set does not have.
    """
    ordered = sorted(labels, key=lambda label: ground_truth.category(label).id)
    images = {image.id for image in ground_truth.images}
    measured = images if image_ids is None else images & set(image_ids)
    found = _found(results, images, measured, ground_truth, "bbox" if iou_type == "bbox" else "segmentation")
    objects = _objects(ground_truth, set(ordered), measured, iou_type)
    federated = federated_of(ground_truth)
    precision = np.full((*PRECISION_SHAPE[:2], len(ordered), PRECISION_SHAPE[2]), -1.0)
    recall = np.full((RECALL_SHAPE[0], len(ordered), RECALL_SHAPE[1]), -1.0)
    for column, label in enumerate(ordered):
        if label in objects:
            here = found.get(ground_truth.category(label).id, [])
            open_images: frozenset[int] = frozenset()
            if federated is not None:
                here = _where_looked_for(here, objects[label], federated, label)
                open_images = federated.not_exhaustive.get(label, open_images)
            precision[:, :, column], recall[:, column] = precision_and_recall(
                objects[label], _columns(here), most=most, not_exhaustive=open_images
            )
    return ApTable(labels=tuple(ordered), precision=precision, recall=recall)


def _objects(data: CocoData, labels: set[int], image_ids: set[int], iou_type: IouType) -> dict[int, Objects]:
    """The objects of each label that has any."""
    table = data.annotations()
    rows = [row for image in data.images if image.id in image_ids for row in data.rows_of(image.id).tolist()]
    ordered = np.array(sorted(rows, key=table.labels.tolist().__getitem__), dtype=np.int64)
    found, starts = np.unique(table.labels[ordered], return_index=True)
    return {
        label: Objects(
            image_ids=table.image_ids[chosen],
            shapes=table.boxes_xywh[chosen].tolist()
            if iou_type == "bbox"
            else [_rle(data, table[row]) for row in chosen.tolist()],
            areas=table.areas[chosen],
            crowds=table.iscrowd[chosen] | ((iou_type == "segm") & ~table.has_mask[chosen]),
        )
        for label, chosen in zip(found.tolist(), np.split(ordered, starts[1:]), strict=False)
        if label in labels
    }


def _rle(data: CocoData, annotation: Annotation) -> dict[str, Any]:
    """The mask of an object; of one without a mask its box."""
    image = data.image(annotation.image_id)
    if annotation.has_mask:
        return segmentation_to_rle(annotation.segmentation, image.height, image.width)
    x1, y1, x2, y2 = annotation.box_xyxy
    box = np.array([[x1, y1, x2 - x1, y2 - y1]], dtype=np.float64)
    rle: dict[str, Any] = coco_mask.frPyObjects(box, image.height, image.width)[0]
    return rle


def _found(
    results: Iterable[Result], images: set[int], measured: set[int], data: CocoData, key: str
) -> dict[int, list[tuple[int, float, Shape]]]:
    """Image id, score and shape of the results of each category id."""
    chosen: dict[int, list[tuple[int, float, Shape]]] = {}
    for result in results:
        image_id = result["image_id"]
        if image_id not in images:
            raise DataError(
                f"The results hold image {image_id}, which {data.path} does not have.",
                "evaluate with the annotation file that the results were made for",
            )
        if image_id in measured:
            chosen.setdefault(result["category_id"], []).append((image_id, result["score"], result[key]))
    return chosen


def _where_looked_for(
    found: Sequence[tuple[int, float, Shape]], objects: Objects, federated: Federated, label: int
) -> list[tuple[int, float, Shape]]:
    """The results in images that have an object of the category, or are known to have none."""
    images = {*objects.image_ids.tolist(), *federated.absent.get(label, ())}
    return [result for result in found if result[0] in images]


def _columns(found: Sequence[tuple[int, float, Shape]]) -> Found:
    return Found(
        image_ids=np.array([image_id for image_id, _, _ in found], dtype=np.int64),
        shapes=[shape for _, _, shape in found],
        scores=np.array([score for _, score, _ in found], dtype=np.float64),
    )


def _figures(precision: NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    everywhere = precision[..., _ALL]
    small, medium, large = (_mean(precision[..., size]) for size in (_SMALL, _MEDIUM, _LARGE))
    return _mean(everywhere), _mean(everywhere[_IOU_50]), _mean(everywhere[_IOU_75]), small, medium, large


def _mean(precision: NDArray[np.float64]) -> float:
    measured = precision[precision > -1]
    return float(np.mean(measured)) * 100 if measured.size else float("nan")
