"""What the export needs of a detector: maskx's own has it, and anyone else's can be given it in a few lines."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from maskx_pipeline.detection.features import Detections


class SeenImage(Protocol):
    """One image after the detector."""

    @property
    def detections(self) -> Detections:
        """What was found, best score first, in pixels of the image; only those of val are stored."""

    @property
    def proposals_xyxy(self) -> Tensor:
        """FloatTensor[P, 4]: boxes in pixels of the image that may be stored beside an object's own; P may be 0."""

    def pool(self, boxes_xyxy: Tensor, roi_size: int) -> Tensor:
        """RoI features.

        Args:
            boxes_xyxy (FloatTensor[N, 4]): in pixels of the image; N may be 0.
            roi_size: S.

        Returns:
            FloatTensor[N, C, S, S]: finite in float16; on any device.
        """


class RoIDetector(Protocol):
    """A frozen detector."""

    @property
    def channels(self) -> int:
        """C, the channels of its RoI features."""

    def extract(self, image: Tensor) -> SeenImage:
        """Look at one image, FloatTensor[3, H, W], RGB in 0..1; the same image must give the same result."""
