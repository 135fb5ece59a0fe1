"""Masks for boxes whose category is known, as COCO annotations hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from maskx_pipeline.annotate.polygons import outline_of
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.masks import pixels_of_box, segmentation_to_rle
from maskx_pipeline.data.records import Annotation, CocoData
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.whole_model import WholeModel

_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class FilledMask:
    """The mask of one annotation.

    Attributes:
        confidence: The IoU with the true mask that the model expects, 0..1; see `expected_iou`.
        segmentation: Polygons or RLE; None where no pixel is the object's.
        area: Of the segmentation, in pixels.
        filled_holes: Pixels of holes that polygons cannot express and that were filled.
    """

    annotation_id: int
    confidence: float
    segmentation: list[list[float]] | dict[str, Any] | None
    area: float
    filled_holes: int


def fill_masks(
    model: WholeModel, data: CocoData, annotations: Sequence[Annotation], labels: Sequence[int], *, mask_format: str
) -> list[FilledMask]:
    """Predict the masks of some boxes of one image.

    Each mask is cut off at its box, the pixels whose centres lie inside, as a user who drew the box expects it.

    Args:
        annotations: Boxes of one image, at least one.
        labels: The model's label of each, 1..K.

    Returns:
        One mask for each annotation, in their order.

    Raises:
        DataError: The image is missing or corrupt, or has another size than the annotation file says.
    """
    image = data.image(annotations[0].image_id)
    pixels = read_image(data.image_path(image.id), width=image.width, height=image.height)
    boxes = torch.tensor([annotation.box_xyxy for annotation in annotations])
    mask_probs = model.segment(pixels.float().div_(255), boxes, torch.tensor(labels))
    filled = []
    for annotation, box, probs in zip(annotations, boxes, mask_probs, strict=True):
        # One at a time, since a large photo with many boxes would fill the memory.
        mask = paste(probs[None], box[None], image.height, image.width, _THRESHOLD)[0]
        filled.append(_filled(annotation, cut_to_box(mask, annotation.box_xyxy), expected_iou(probs), mask_format))
    return filled


def expected_iou(mask_probs: Tensor) -> float:
    """The confidence of a mask: the IoU with the true mask that its probabilities promise.

    With M the cells above 0.5, it is the expected intersection over the expected union: the sum of p over M, divided by
    the size of M plus the sum of p over the cells outside of M.

    Args:
        mask_probs (FloatTensor[M, M]): probability of the object at each cell of its box, 0..1.

    Returns:
        0..1; 0 where no cell is above 0.5.
    """
    inside = mask_probs > _THRESHOLD
    union = inside.sum() + mask_probs[~inside].sum()
    return float(mask_probs[inside].sum() / union) if inside.any() else 0.0


def cut_to_box(mask: NDArray[np.uint8], box_xyxy: Sequence[float]) -> NDArray[np.uint8]:
    """A mask without what lies outside of its box; the box has at least one pixel in each direction."""
    x1, y1, x2, y2 = pixels_of_box(box_xyxy, *mask.shape)
    cut = np.zeros_like(mask)
    cut[y1:y2, x1:x2] = mask[y1:y2, x1:x2]
    return cut


def _filled(annotation: Annotation, mask: NDArray[np.uint8], confidence: float, mask_format: str) -> FilledMask:
    if not mask.any():
        return FilledMask(annotation.id, 0.0, None, 0.0, 0)
    segmentation: list[list[float]] | dict[str, Any]
    if mask_format == "polygons":
        segmentation, holes = outline_of(mask)
        area = float(coco_mask.area(segmentation_to_rle(segmentation, *mask.shape)))
    else:
        rle = coco_mask.encode(np.asfortranarray(mask))
        segmentation, holes = {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}, 0
        area = float(mask.sum())
    return FilledMask(annotation.id, round(confidence, 4), segmentation, area, holes)
