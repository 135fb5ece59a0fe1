"""Large pictures in tiles: SAHI cuts them and joins what is found, with the whole model as its detector.

The package sahi is an extra, so this module is imported where tiles are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from maskx_pipeline.data.masks import rle_of_pixels
from maskx_pipeline.data.records import Category
from maskx_pipeline.errors import MachineError
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.evaluation.tiled_objects import TiledObjects
from maskx_pipeline.whole_model import ImageModel, Instances

try:
    from sahi.models.base import DetectionModel
    from sahi.predict import get_sliced_prediction
    from sahi.prediction import ObjectPrediction
    from sahi.utils.cv import get_coco_segmentation_from_bool_mask
except ImportError as error:
    raise MachineError(
        f"Tiles need the package {error.name}, which is not installed.",
        "run `pip install sahi`, or install maskx with the extra sahi",
    ) from error

_OVERLAP = 0.2  # of a tile, as SAHI's default


class SahiModel(DetectionModel):  # type: ignore[misc]
    """A model of maskx as a detector of SAHI: for its functions, and for programs that use them.

    Args:
        model: Detector and mask model.
        categories: By ascending label; an object's ``category.id`` is the label.
        score_threshold: Detections below it are left out.
    """

    def __init__(self, model: ImageModel, *, categories: Sequence[Category], score_threshold: float) -> None:
        names = {str(category.label): category.name for category in categories}
        device = str(model.device)
        super().__init__(model=model, confidence_threshold=score_threshold, category_mapping=names, device=device)

    def set_model(self, model: ImageModel, **_: Any) -> None:
        """Take the model, as SAHI hands it back."""
        self.model = model

    def perform_inference(self, image: NDArray[np.uint8]) -> None:
        """Segment one tile, uint8[H, W, 3], RGB."""
        self.perform_batch_inference([image])

    def perform_batch_inference(self, images: list[NDArray[np.uint8]]) -> None:
        """Segment tiles, those of one size together."""
        tensors = [torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255) for image in images]
        self._original_predictions = self.model.predict_many(tensors)
        self._original_shapes = [image.shape for image in images]

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list: Any = None, full_shape_list: Any = None
    ) -> None:
        """Tell SAHI of the objects; those whose mask has no area have none to join."""
        count = len(self._original_predictions)
        shifts = _per_image(shift_amount_list, count) or [[0, 0]] * count
        full = _per_image(full_shape_list, count) or [list(shape[:2]) for shape in self._original_shapes]
        self._object_prediction_list_per_image = [
            self._objects(found.above(self.confidence_threshold), shape[:2], shift, whole)
            for found, shape, shift, whole in zip(
                self._original_predictions, self._original_shapes, shifts, full, strict=True
            )
        ]

    def _objects(self, found: Instances, size: tuple[int, int], shift: list[int], whole: list[int]) -> list[Any]:
        masks = paste(found.mask_probs, found.boxes_xyxy, *size)
        outlines = [get_coco_segmentation_from_bool_mask(mask) for mask in masks]
        return [
            ObjectPrediction(
                bbox=box,
                segmentation=outline,
                category_id=label,
                category_name=self.category_mapping[str(label)],
                score=score,
                shift_amount=shift,
                full_shape=whole,
            )
            for box, outline, label, score in zip(
                found.boxes_xyxy.tolist(), outlines, found.labels.tolist(), found.scores.tolist(), strict=True
            )
            if outline
        ]


def predict_tiled(
    model: ImageModel,
    image: Tensor,
    *,
    tile: int,
    categories: Sequence[Category],
    score_threshold: float,
    batch: int = 1,
) -> TiledObjects:
    """Segment a picture in tiles that overlap by a fifth, and as a whole, and join the parts of each object.

    SAHI knows an object by its outline, so holes of masks are filled, and boxes are those of the masks.

    Args:
        image (uint8[3, H, W]): RGB.
        tile: Side of a tile, in pixels.
        batch: Tiles that go through the backbone together.
    """
    found = get_sliced_prediction(
        image.permute(1, 2, 0).contiguous().numpy(),
        SahiModel(model, categories=categories, score_threshold=score_threshold),
        slice_height=tile,
        slice_width=tile,
        overlap_height_ratio=_OVERLAP,
        overlap_width_ratio=_OVERLAP,
        batch_size=batch,
        verbose=0,
    ).object_prediction_list
    found = sorted((item for item in found if item.mask), key=lambda item: -item.score.value)
    rles = tuple(rle_of_pixels(item.mask.bool_mask) for item in found)
    boxes = torch.tensor([coco_mask.toBbox(rle).tolist() for rle in rles], dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return TiledObjects(
        boxes_xyxy=boxes,
        scores=torch.tensor([item.score.value for item in found], dtype=torch.float32),
        labels=torch.tensor([item.category.id for item in found], dtype=torch.int64),
        rles=rles,
    )


def _per_image(value: Any, count: int) -> list[Any] | None:
    """SAHI gives one pair for one image, or a list of them."""
    if value is None:
        return None
    return list(value) if isinstance(value[0], list | tuple) else [value] * count
