"""What maskx needs of a detector: its own Faster R-CNN has it, and anybody's can be given it in one class."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, best score first.

    Attributes:
        boxes_xyxy (FloatTensor[N, 4]): in pixels of the image.
        scores (FloatTensor[N]): 0..1.
        labels (LongTensor[N]): 1..K.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_threshold: float) -> Self:
        """Those with at least this score, with all that belongs to them."""
        kept = self.scores >= score_threshold
        rows = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **{n: value[kept] for n, value in rows.items() if isinstance(value, Tensor)})


class DetectedImage(Protocol):
    """One image after the detector."""

    @property
    def detections(self) -> Detections:
        """What was found; training images are not asked for it."""

    @property
    def proposals_xyxy(self) -> Tensor:
        """FloatTensor[P, 4]: boxes in pixels of the image that may be trained on beside an object's own; P may be 0."""

    def pool(self, boxes_xyxy: Tensor, roi_size: int) -> Tensor:
        """RoI features.

        Args:
            boxes_xyxy (FloatTensor[N, 4]): in pixels of the image; N may be 0.
            roi_size: S.

        Returns:
            FloatTensor[N, C, S, S]: finite in float16, best of mean 0 and variance 1; on any device.
        """


class Detector(Protocol):
    """A frozen detector."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """Those of the data set, by label 1..K, which is by ascending id."""

    @property
    def class_weights(self) -> ClassWeights:
        """A row per category; ``w_box`` and ``b_box`` are [K, 0] where a detector has no box weights per category."""

    @property
    def channels(self) -> int:
        """C, the channels of its RoI features."""

    @property
    def detections_per_image(self) -> int:
        """The most detections of an image."""

    @property
    def identity(self) -> str:
        """A digest (hex) of all that decides what it finds and how it pools: weights, settings, code."""

    def extract(self, image: Tensor) -> DetectedImage:
        """Look at one image, FloatTensor[3, H, W], RGB in 0..1; the same image must give the same result."""
