"""The frozen detector: the one forward pass behind both the RoI cache and live inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.ops import clip_boxes_to_image

from maskx_pipeline.detection.pooling import PyramidPool
from maskx_pipeline.engine.device import autocast


def freeze_detector(detector: FasterRCNN) -> FasterRCNN:
    """Put a detector into evaluation mode and let nothing of it require a gradient."""
    detector.eval()
    detector.requires_grad_(False)
    return detector


@dataclass(frozen=True, slots=True)
class Detections:
    """What the detector found in one image, best score first.

    Attributes:
        boxes_xyxy (FloatTensor[N, 4]): in pixels of the original image.
        scores (FloatTensor[N]): 0..1.
        labels (LongTensor[N]): 1..K.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor


class FrozenImage:
    """One image after backbone and RPN of the frozen detector; made by :meth:`FrozenDetector.extract`.

    Attributes:
        proposals_xyxy (FloatTensor[P, 4]): the RPN's proposals, in pixels of the original image, best first.
        height, width: Of the original image, in pixels.
    """

    def __init__(
        self,
        *,
        features: dict[str, Tensor],
        detect: Callable[[], Detections],
        proposals_xyxy: Tensor,
        original_size: tuple[int, int],
        resized_size: tuple[int, int],
        canonical_box_size: int,
    ) -> None:
        self.proposals_xyxy = proposals_xyxy
        self.height, self.width = original_size
        self._features = features
        self._detect = detect
        self._resized_size = resized_size
        self._canonical_box_size = canonical_box_size

    @cached_property
    def detections(self) -> Detections:
        """What was found. The box head runs when this is first asked for: of training images nobody does."""
        return self._detect()

    @torch.no_grad()
    def pool(self, boxes_xyxy: Tensor, roi_size: int) -> Tensor:
        """Pool RoI features from the FPN.

        Args:
            boxes_xyxy (FloatTensor[N, 4]): in pixels of the original image.
            roi_size: Side S of the features.

        Returns:
            FloatTensor[N, C, S, S], float32, on the detector's device.
        """
        boxes = boxes_xyxy.to(next(iter(self._features.values())).device, torch.float32)
        resized = scale_boxes(boxes, (self.height, self.width), self._resized_size)
        pool = PyramidPool(roi_size=roi_size, canonical_box_size=self._canonical_box_size)
        pooled: Tensor = pool(self._features, [resized], [self._resized_size])
        return pooled


class FrozenDetector:
    """A detector that is only looked through.

    It takes one image at a time: padding images to a common size would change their features at the border, so that
    features would depend on the batch.

    Args:
        detector: The detector; it is frozen and moved.
        device: Where it computes.
        amp_dtype: Mixed precision of its convolutions, or None.
    """

    def __init__(self, detector: FasterRCNN, *, device: torch.device, amp_dtype: torch.dtype | None) -> None:
        self.detector = freeze_detector(detector).to(device)
        self.device = device
        self.amp_dtype = amp_dtype

    @property
    def channels(self) -> int:
        """C, the channels of the RoI features."""
        return int(self.detector.backbone.out_channels)

    @torch.no_grad()
    def extract(self, image: Tensor) -> FrozenImage:
        """Run backbone and RPN on one image, and the box head once its detections are asked for.

        Args:
            image (FloatTensor[3, H, W]): RGB in 0..1.

        Returns:
            Detections, proposals, and the features to pool from. The same image gives the same result every time.
        """
        original = (int(image.shape[-2]), int(image.shape[-1]))
        with autocast(self.device, self.amp_dtype):
            batch, _ = self.detector.transform([image.to(self.device)])
            features = self.detector.backbone(batch.tensors)
            proposals, _ = self.detector.rpn(batch, features)
        resized = batch.image_sizes[0]

        def to_original(boxes: Tensor) -> Tensor:
            clipped: Tensor = clip_boxes_to_image(scale_boxes(boxes, resized, original), original)
            return clipped

        @torch.no_grad()
        def detect() -> Detections:
            with autocast(self.device, self.amp_dtype):
                (found,), _ = self.detector.roi_heads(features, proposals, batch.image_sizes)
            return Detections(to_original(found["boxes"]), found["scores"], found["labels"])

        pool = self.detector.roi_heads.box_roi_pool
        return FrozenImage(
            features={name: features[name].float() for name in pool.featmap_names},
            detect=detect,
            proposals_xyxy=to_original(proposals[0]),
            original_size=original,
            resized_size=resized,
            canonical_box_size=pool.canonical_scale,
        )


def scale_boxes(boxes_xyxy: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Carry boxes from an image of one (height, width) to the same image at another.

    Args:
        boxes_xyxy (FloatTensor[N, 4]): in pixels of the old size.

    Returns:
        FloatTensor[N, 4]: in pixels of the new size.
    """
    y, x = (new / old for new, old in zip(new_size, old_size, strict=True))
    return boxes_xyxy * boxes_xyxy.new_tensor([x, y, x, y])
