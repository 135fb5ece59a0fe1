"""The whole model: the frozen detector, and the mask head whose last weights T predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.detection.detector import DetectedImage, Detections, Detector
from maskx_pipeline.engine import device as devices
from maskx_pipeline.transfer.mask_model import MaskModel

_ROIS_AT_ONCE = 256  # a photo of a crowd may have thousands of boxes, whose features would not fit into memory


@dataclass(frozen=True, slots=True)
class Instances(Detections):
    """What was found in one image, with masks, on the CPU.

    Attributes:
        mask_probs (FloatTensor[N, M, M]): probability of the object at each cell of its box, 0..1.
    """

    mask_probs: Tensor


class ImageModel(Protocol):
    """What finds and segments the objects of images: :class:`WholeModel`, or the same in another runtime."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def predict(self, image: Tensor) -> Instances:
        """What is in one image, FloatTensor[3, H, W], RGB in 0..1."""

    def predict_many(self, images: Sequence[Tensor]) -> list[Instances]:
        """What `predict` gives for each image."""


@dataclass(eq=False)
class WholeModel:
    """Detector and mask model together, for images instead of cached features.

    Attributes:
        detector: The detector, with the precision that the cache was exported with.
        roi_size: Side S of the RoI features that the mask head was fitted on.
        amp_dtype: Precision of the mask head; None is float32.
        half_features: Round the RoI features to float16, as in the RoI cache that the mask head was fitted on.
    """

    detector: Detector
    mask_model: MaskModel
    _: KW_ONLY
    roi_size: int
    device: torch.device
    amp_dtype: torch.dtype | None = None
    half_features: bool = True

    def __post_init__(self) -> None:
        self.mask_model.eval().to(self.device)

    def predict(self, image: Tensor) -> Instances:
        """Detect the objects of one image, and segment each with the weights of its own category alone.

        The RoI features are rounded to float16 where the mask head was fitted on the RoI cache, so that both give the
        same masks.

        Args:
            image (FloatTensor[3, H, W]): RGB, 0..1.
        """
        return self._instances(self.detector.extract(image))

    def predict_many(self, images: Sequence[Tensor]) -> list[Instances]:
        """What `predict` gives for each image; images of one size share a pass through the backbone.

        Images of several sizes are not padded to a common one, which would change what is found, and detectors of other
        kinds than maskx's own look at one image at a time. Another batch may round differently.

        Args:
            images: FloatTensor[3, H, W] each, RGB, 0..1.
        """
        extract_many: Any = getattr(self.detector, "extract_many", None)
        if extract_many is None or len(images) == 1 or len({image.shape for image in images}) > 1:
            return [self.predict(image) for image in images]
        return [self._instances(detected) for detected in extract_many(list(images))]

    def predict_and_segment(self, image: Tensor, boxes_xyxy: Tensor, labels: Tensor) -> tuple[Instances, Tensor]:
        """What `predict` and `segment` give, by one look of the detector at the image."""
        detected = self.detector.extract(image)
        return self._instances(detected), self._masks_in_parts(detected, boxes_xyxy, labels)

    def _instances(self, detected: DetectedImage) -> Instances:
        found = detected.detections
        return Instances(
            boxes_xyxy=found.boxes_xyxy.float().cpu(),
            scores=found.scores.float().cpu(),
            labels=found.labels.cpu(),
            mask_probs=self._masks(detected, found.boxes_xyxy, found.labels),
        )

    def segment(self, image: Tensor, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        """Segment given boxes of one image, whose categories are known, with the same computation as `predict`.

        Args:
            image (FloatTensor[3, H, W]): RGB, 0..1.
            boxes_xyxy (FloatTensor[N, 4]): in pixels of the image.
            labels (int64[N]): 1..K.

        Returns:
            FloatTensor[N, M, M]: probability of the object at each cell of its box, 0..1, on the CPU.
        """
        return self._masks_in_parts(self.detector.extract(image), boxes_xyxy, labels)

    def _masks_in_parts(self, detected: DetectedImage, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        parts = (slice(start, start + _ROIS_AT_ONCE) for start in range(0, max(1, len(labels)), _ROIS_AT_ONCE))
        return torch.cat([self._masks(detected, boxes_xyxy[part], labels[part]) for part in parts])

    def _masks(self, detected: DetectedImage, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        roi_features = detected.pool(boxes_xyxy, self.roi_size)
        if self.half_features:
            roi_features = roi_features.half()
        return masks_of(self.mask_model, roi_features, labels, device=self.device, amp_dtype=self.amp_dtype)


@torch.no_grad()
def masks_of(
    mask_model: MaskModel,
    roi_features: Tensor | NDArray[np.float16],
    labels: Tensor | NDArray[np.int64],
    *,
    device: torch.device,
    amp_dtype: torch.dtype | None,
) -> Tensor:
    """Run the mask head on the RoIs of one image; cached and live features both go through here.

    One image is one batch, because another batch size may round differently.

    Args:
        mask_model: T and the mask head, on ``device`` and in eval mode.
        roi_features (float16 or float32 [N, C, S, S]): pooled features.
        labels (int64[N]): 1..K, the category whose mask is computed.

    Returns:
        FloatTensor[N, M, M]: probabilities 0..1, on the CPU.
    """
    features = torch.as_tensor(roi_features).to(device, non_blocking=True)
    chosen = torch.as_tensor(labels).to(device, non_blocking=True)
    with devices.autocast(device, amp_dtype):
        mask_logits = mask_model(features, chosen)
    mask_probs: Tensor = mask_logits.float().sigmoid().cpu()
    return mask_probs
