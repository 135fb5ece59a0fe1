"""Masks for boxes whose category is known, as COCO annotations hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.masks import pixels_of_box, rle_of_pixels, segmentation_to_rle
from maskx_pipeline.data.polygons import outline_of
from maskx_pipeline.data.records import Annotation, CocoData
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.evaluation.specks import label_parts, without_specks
from maskx_pipeline.whole_model import WholeModel

Opinion = Callable[[NDArray[np.uint8], Sequence[Sequence[float]]], Sequence[Mapping[str, Any] | None]]
"""What a teacher says: from an image, uint8 [H, W, 3], and boxes in pixels an RLE for each; None: it finds nothing."""

_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class FilledMask:
    """The mask of one annotation.

    Attributes:
        confidence: The IoU with the true mask that the model expects, 0..1; see `expected_iou`.
        segmentation: Polygons or RLE; None where no pixel is the object's.
        area: Of the segmentation, in pixels.
        filled_holes: Pixels of holes that polygons cannot express and that were filled.
        agreement: IoU of the model's mask with a teacher's, 0..1; None where none was asked.
        by_teacher: Whether this is the teacher's mask; then the confidence is the IoU that its category is known for.
        specks: Small parts that were left out.
    """

    annotation_id: int
    confidence: float
    segmentation: list[list[float]] | dict[str, Any] | None
    area: float
    filled_holes: int
    agreement: float | None = None
    by_teacher: bool = False
    specks: int = 0


def fill_masks(
    model: WholeModel,
    data: CocoData,
    annotations: Sequence[Annotation],
    labels: Sequence[int],
    *,
    mask_format: str,
    speck_share: float = 0.0,
    opinion: Opinion | None = None,
    by_teacher: Mapping[int, float] = MappingProxyType({}),
) -> list[FilledMask]:
    """Predict the masks of some boxes of one image.

    Each mask is cut off at its box, the pixels whose centres lie inside, as a user who drew the box expects it.

    Args:
        annotations: Boxes of one image, at least one.
        labels: The model's label of each, 1..K.
        speck_share: Parts below this share of their mask are left out, 0..1; see `without_specks`.
        opinion: A teacher whose masks are compared with the model's.
        by_teacher: The labels whose masks are the teacher's, where it finds any, and the IoU to expect of these, 0..1.

    Returns:
        One mask for each annotation, in their order.

    Raises:
        DataError: The image is missing or corrupt, or has another size than the annotation file says.
    """
    image = data.image(annotations[0].image_id)
    pixels = _pixels(data, annotations)
    boxes = torch.tensor([annotation.box_xyxy for annotation in annotations])
    mask_probs = model.segment(pixels.float().div_(255), boxes, torch.tensor(labels))
    said: Sequence[_Said | None] = [None] * len(annotations)
    if opinion is not None:
        said = _asked(opinion, pixels, annotations, speck_share)
    filled = []
    for annotation, box, probs, label, other in zip(annotations, boxes, mask_probs, labels, said, strict=True):
        # One at a time, since a large photo with many boxes would fill the memory.
        whole = paste(probs[None], box[None], image.height, image.width, _THRESHOLD)[0]
        whole = cut_to_box(whole, annotation.box_xyxy)
        mask, specks = without_specks(whole, speck_share)
        agreement = None if opinion is None else round(_iou(mask, None if other is None else other.mask), 4)
        if other is not None and label in by_teacher:
            taken = _filled(annotation, other.mask, by_teacher[label], mask_format)
            filled.append(replace(taken, agreement=agreement, by_teacher=True, specks=other.specks))
        else:
            dropped = _dropped_cells(probs, whole, mask, annotation.box_xyxy) if specks else None
            made = _filled(annotation, mask, expected_iou(probs, without=dropped), mask_format)
            filled.append(replace(made, agreement=agreement, specks=specks))
    return filled


def teacher_masks(
    opinion: Opinion,
    data: CocoData,
    annotations: Sequence[Annotation],
    *,
    mask_format: str,
    speck_share: float = 0.0,
) -> list[FilledMask]:
    """The masks that a teacher gives to boxes of one image, in the form in which they would be written."""
    said = _asked(opinion, _pixels(data, annotations), annotations, speck_share)
    image = data.image(annotations[0].image_id)
    nothing = np.zeros((image.height, image.width), dtype=np.uint8)
    return [
        _filled(annotation, nothing if found is None else found.mask, 0.0, mask_format)
        for annotation, found in zip(annotations, said, strict=True)
    ]


def _pixels(data: CocoData, annotations: Sequence[Annotation]) -> Tensor:
    image = data.image(annotations[0].image_id)
    return read_image(data.image_path(image.id), width=image.width, height=image.height)


class _Said(NamedTuple):
    """What a teacher says of one box."""

    mask: NDArray[np.uint8]
    specks: int


def _asked(
    opinion: Opinion, pixels: Tensor, annotations: Sequence[Annotation], speck_share: float
) -> list[_Said | None]:
    image = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    said = opinion(image, [annotation.box_xyxy for annotation in annotations])
    return [None if rle is None else _Said(*without_specks(coco_mask.decode(rle), speck_share)) for rle in said]


def _iou(mask: NDArray[np.uint8], other: NDArray[np.uint8] | None) -> float:
    """0 where either finds nothing."""
    if other is None or not mask.any():
        return 0.0
    return float((mask & other).sum() / (mask | other).sum())


def expected_iou(mask_probs: Tensor, *, without: Tensor | None = None) -> float:
    """The confidence of a mask: the IoU with the true mask that its probabilities promise.

    With M the cells above 0.5, it is the expected intersection over the expected union: the sum of p over M, divided by
    the size of M plus the sum of p over the cells outside of M.

    Args:
        mask_probs (FloatTensor[M, M]): probability of the object at each cell of its box, 0..1.
        without (BoolTensor[M, M]): cells that are no part of M although they are above 0.5.

    Returns:
        0..1; 0 where no cell is above 0.5.
    """
    inside = mask_probs > _THRESHOLD
    if without is not None:
        inside &= ~without
    union = inside.sum() + mask_probs[~inside].sum()
    return float(mask_probs[inside].sum() / union) if inside.any() else 0.0


def _dropped_cells(
    mask_probs: Tensor, whole: NDArray[np.uint8], kept: NDArray[np.uint8], box_xyxy: Sequence[float]
) -> Tensor:
    """The cells of a mask whose part was dropped as a speck: parts of cells that lie on dropped pixels alone.

    Returns:
        BoolTensor[M, M].
    """
    x1, y1, x2, y2 = box_xyxy
    centres = (np.arange(mask_probs.shape[0]) + 0.5) / mask_probs.shape[0]
    columns = np.clip(np.floor(x1 + centres * (x2 - x1)), 0, whole.shape[1] - 1).astype(np.int64)
    rows = np.clip(np.floor(y1 + centres * (y2 - y1)), 0, whole.shape[0] - 1).astype(np.int64)
    here, still = (pixels[np.ix_(rows, columns)].astype(bool) for pixels in (whole, kept))
    parts = label_parts((mask_probs > _THRESHOLD).cpu().numpy().astype(np.uint8))
    gone = np.setdiff1d(parts[here & ~still], parts[still])
    return torch.from_numpy(np.isin(parts, gone[gone > 0])).to(mask_probs.device)


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
        segmentation, holes = rle_of_pixels(mask), 0
        area = float(mask.sum())
    return FilledMask(annotation.id, round(confidence, 4), segmentation, area, holes)
