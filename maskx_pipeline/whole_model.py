"""The whole model: the frozen detector, and the mask head whose last weights T predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.detection.features import FrozenDetector, FrozenImage
from maskx_pipeline.detection.identity import detector_identities
from maskx_pipeline.detection.load import LoadedDetector, load_detector
from maskx_pipeline.engine import device as devices
from maskx_pipeline.errors import RunError
from maskx_pipeline.transfer.load import LoadedMaskModel
from maskx_pipeline.transfer.mask_model import MaskModel

_ROIS_AT_ONCE = 256  # a photo of a crowd may have thousands of boxes, whose features would not fit into memory


@dataclass(frozen=True, slots=True)
class Instances:
    """What was found in one image, on the CPU, by falling score.

    Attributes:
        boxes_xyxy (FloatTensor[N, 4]): in pixels of the image.
        scores (FloatTensor[N]): 0..1.
        labels (int64[N]): 1..K.
        mask_probs (FloatTensor[N, M, M]): probability of the object at each cell of its box, 0..1.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor
    mask_probs: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_threshold: float) -> Instances:
        """Those with at least this score."""
        kept = self.scores >= score_threshold
        return Instances(self.boxes_xyxy[kept], self.scores[kept], self.labels[kept], self.mask_probs[kept])


class WholeModel:
    """Detector and mask model together, for images instead of cached features.

    Args:
        frozen: The frozen detector, with the precision that the cache was exported with.
        mask_model: T and the mask head.
        roi_size: Side S of the RoI features that the mask head was fitted on.
        amp_dtype: Precision of the mask head; None is float32.
        half_features: Round the RoI features to float16, as in the RoI cache that the mask head was fitted on.
    """

    def __init__(
        self,
        frozen: FrozenDetector,
        mask_model: MaskModel,
        *,
        roi_size: int,
        amp_dtype: torch.dtype | None = None,
        half_features: bool = True,
    ) -> None:
        self._frozen = frozen
        self._mask_model = mask_model.eval().to(frozen.device)
        self._roi_size = roi_size
        self._amp_dtype = amp_dtype
        self._half_features = half_features

    @classmethod
    def build(
        cls, detector: LoadedDetector, fitted: LoadedMaskModel, *, device: torch.device, detector_amp: str = "auto"
    ) -> Self:
        """Put a detector and a mask model fitted on its features together.

        Args:
            detector: The detector; it is frozen and moved.
            fitted: The mask model.
            device: Where both compute.
            detector_amp: The ``amp`` setting of the export, without which cache and images differ.

        Raises:
            RunError: The mask model was fitted on another detector.
        """
        if detector.identity != fitted.detector_sha256:
            raise RunError(
                f"The mask model was fitted on the detector {fitted.detector_sha256:.12}, but this one is "
                f"{detector.identity:.12}.",
                "export and fit again for this detector, or evaluate with --from cache",
            )
        frozen = FrozenDetector(detector.model, device=device, amp_dtype=devices.amp_dtype(detector_amp, device))
        return cls(
            frozen, fitted.model, roi_size=fitted.roi_size, amp_dtype=devices.amp_dtype(fitted.config.amp, device)
        )

    def predict(self, image: Tensor) -> Instances:
        """Detect the objects of one image, and segment each with the weights of its own category alone.

        The RoI features are rounded to float16 where the mask head was fitted on the RoI cache, so that both give the
        same masks.

        Args:
            image (FloatTensor[3, H, W]): RGB, 0..1.
        """
        found = self._frozen.extract(image)
        boxes, scores, labels = found.detections.boxes_xyxy, found.detections.scores, found.detections.labels
        return Instances(
            boxes_xyxy=boxes.float().cpu(),
            scores=scores.float().cpu(),
            labels=labels.cpu(),
            mask_probs=self._masks(found, boxes, labels),
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
        found = self._frozen.extract(image)
        parts = (slice(start, start + _ROIS_AT_ONCE) for start in range(0, len(labels), _ROIS_AT_ONCE))
        return torch.cat([self._masks(found, boxes_xyxy[part], labels[part]) for part in parts])

    def _masks(self, found: FrozenImage, boxes_xyxy: Tensor, labels: Tensor) -> Tensor:
        roi_features = found.pool(boxes_xyxy, self._roi_size)
        if self._half_features:
            roi_features = roi_features.half()
        return masks_of(self._mask_model, roi_features, labels, device=self._frozen.device, amp_dtype=self._amp_dtype)


def detector_of(fitted: LoadedMaskModel) -> LoadedDetector:
    """The detector that a mask model was fitted on.

    Raises:
        RunError: It is gone, was trained again since, or never was one of maskx's.
    """
    if not fitted.detector_run.exists():
        raise RunError(
            f"The detector that this model was fitted on is not at {fitted.detector_run}, and images need it.",
            "fit again with --detector and the folder of its run, which takes no time; if the RoI cache was written by "
            "another program's detector, `maskx evaluate --from cache` and `maskx export-model --format onnx` do "
            "without",
        )
    for checkpoint, identity in detector_identities(fitted.detector_run).items():
        if identity == fitted.detector_sha256:
            return load_detector(fitted.detector_run, checkpoint=checkpoint)
    raise RunError(
        f"{fitted.detector_run} is no longer the detector that this model was fitted on.",
        "export and fit again, or evaluate with --from cache",
    )


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
        device: Where to compute.
        amp_dtype: Precision; None is float32.

    Returns:
        FloatTensor[N, M, M]: probabilities 0..1, on the CPU.
    """
    features = torch.as_tensor(roi_features).to(device, non_blocking=True)
    chosen = torch.as_tensor(labels).to(device, non_blocking=True)
    with devices.autocast(device, amp_dtype):
        mask_logits = mask_model(features, chosen)
    mask_probs: Tensor = mask_logits.float().sigmoid().cpu()
    return mask_probs
