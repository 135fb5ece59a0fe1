"""The frozen detector: the one forward pass behind both the RoI cache and live inference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import clip_boxes_to_image

from maskx_pipeline.config.detection import ASSIGNED, POOLS
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights, class_weights
from maskx_pipeline.detection.detector import Detections
from maskx_pipeline.detection.pooling import PyramidPool
from maskx_pipeline.engine.device import autocast
from maskx_pipeline.errors import ConfigError, DataError


def freeze_detector(detector: FasterRCNN) -> FasterRCNN:
    """Put a detector into evaluation mode and let nothing of it require a gradient."""
    detector.eval()
    detector.requires_grad_(False)
    return detector


@dataclass(eq=False)
class FrozenImage:
    """One image after the backbone of the frozen detector; made by :meth:`FrozenDetector.extract`.

    RPN and box head run when what they find is first asked for: boxes that are given need neither of them, and training
    images need no detections.

    Attributes:
        batch: The image as the detector resizes it.
        features: FPN level to FloatTensor[1, C, H, W].
        original_size: (height, width) of the original image, in pixels.
        pooling: From which maps :meth:`pool` pools; see :class:`PyramidPool`.
    """

    detector: FasterRCNN
    amp_dtype: torch.dtype | None
    batch: ImageList
    features: dict[str, Tensor]
    original_size: tuple[int, int]
    pooling: str

    @cached_property
    def proposals_xyxy(self) -> Tensor:
        """FloatTensor[P, 4]: the RPN's proposals, in pixels of the original image, best first."""
        return self._to_original(self._proposals[0])

    @cached_property
    @torch.no_grad()
    def detections(self) -> Detections:
        """What was found."""
        with autocast(self.batch.tensors.device, self.amp_dtype):
            (found,), _ = self.detector.roi_heads(self.features, self._proposals, self.batch.image_sizes)
        return Detections(self._to_original(found["boxes"]), found["scores"], found["labels"])

    @torch.no_grad()
    def pool(self, boxes_xyxy: Tensor, roi_size: int) -> Tensor:
        """Pool RoI features from the FPN.

        Args:
            boxes_xyxy (FloatTensor[N, 4]): in pixels of the original image.
            roi_size: Side S of the features.

        Returns:
            FloatTensor[N, C, S, S], float32, on the detector's device; C is :attr:`FrozenDetector.channels`.
        """
        boxes = boxes_xyxy.to(self.batch.tensors.device, torch.float32)
        resized = scale_boxes(boxes, self.original_size, self.batch.image_sizes[0])
        scale = int(self.detector.roi_heads.box_roi_pool.canonical_scale)
        pool = PyramidPool(roi_size=roi_size, canonical_box_size=scale, pooling=self.pooling)
        pooled: Tensor = pool(self._pooled_from, [resized], [self.batch.image_sizes[0]])
        return pooled

    @cached_property
    def _pooled_from(self) -> dict[str, Tensor]:
        """The levels to pool from, in float32."""
        return {name: self.features[name].float() for name in self.detector.roi_heads.box_roi_pool.featmap_names}

    @cached_property
    @torch.no_grad()
    def _proposals(self) -> list[Tensor]:
        """One FloatTensor[P, 4], in pixels of the resized image."""
        with autocast(self.batch.tensors.device, self.amp_dtype):
            proposals: list[Tensor] = self.detector.rpn(self.batch, self.features)[0]
        return proposals

    def _to_original(self, boxes_xyxy: Tensor) -> Tensor:
        scaled = scale_boxes(boxes_xyxy, self.batch.image_sizes[0], self.original_size)
        clipped: Tensor = clip_boxes_to_image(scaled, self.original_size)
        return clipped


class FrozenDetector:
    """Faster R-CNN as a detector that is only looked through; see :class:`~maskx_pipeline.detection.detector.Detector`.

    It takes one image at a time: padding images to a common size would change their features at the border, so that
    features would depend on the batch.

    Args:
        detector: The detector; it is frozen and moved.
        categories: By ascending label; none where nobody asks for them, as in its own training.
        identity: Of weights and settings; empty while it is still in training.
        pooling: From which maps RoI features are pooled; see :class:`PyramidPool`. No part of the identity, since one
            detector can be looked through in both ways.

    Raises:
        ConfigError: Two maps are asked for, and the detector has one.
    """

    def __init__(
        self,
        detector: FasterRCNN,
        *,
        device: torch.device,
        amp_dtype: torch.dtype | None,
        categories: tuple[Category, ...] = (),
        identity: str = "",
        pooling: str = ASSIGNED,
    ) -> None:
        if len(detector.roi_heads.box_roi_pool.featmap_names) < POOLS[pooling]:
            raise ConfigError(
                f"The detector has one feature map, and --pool {pooling} pools from two.", f"give --pool {ASSIGNED}"
            )
        self.detector = freeze_detector(detector).to(device)
        self.device = device
        self.amp_dtype = amp_dtype
        self.categories = categories
        self.identity = identity
        self.pooling = pooling

    @property
    def class_weights(self) -> ClassWeights:
        """Copies, float32 on the CPU."""
        return class_weights(self.detector)

    @property
    def channels(self) -> int:
        """C, the channels of the RoI features."""
        return int(self.detector.backbone.out_channels) * POOLS[self.pooling]

    @property
    def detections_per_image(self) -> int:
        """The most detections of an image."""
        return int(self.detector.roi_heads.detections_per_img)

    @torch.no_grad()
    def extract(self, image: Tensor) -> FrozenImage:
        """Run the backbone on one image, and RPN and box head once their boxes are asked for.

        Args:
            image (FloatTensor[3, H, W]): RGB in 0..1.

        Returns:
            Detections, proposals, and the features to pool from. The same image gives the same result every time.

        Raises:
            DataError: The image is so narrow that nothing is left of it when its longer side fits ``max_size``.
        """
        return self.extract_many([image])[0]

    @torch.no_grad()
    def extract_many(self, images: list[Tensor]) -> list[FrozenImage]:
        """What :meth:`extract` gives for each of some images of one size, which go through the backbone together.

        Args:
            images: FloatTensor[3, H, W] each, all of one size, so that none is padded for another.

        Raises:
            DataError: As in :meth:`extract`.
        """
        original = (int(images[0].shape[-2]), int(images[0].shape[-1]))
        refuse_too_narrow(original, self.detector.transform.max_size)
        with autocast(self.device, self.amp_dtype):
            batch, _ = self.detector.transform([image.to(self.device) for image in images])
            features = self.detector.backbone(batch.tensors)
        return [
            FrozenImage(
                self.detector,
                self.amp_dtype,
                ImageList(batch.tensors[number : number + 1], [size]),
                {name: level[number : number + 1] for name, level in features.items()},
                original,
                self.pooling,
            )
            for number, size in enumerate(batch.image_sizes)
        ]


def refuse_too_narrow(size: tuple[int, int], longest: int) -> None:
    """Raise DataError for an image (height, width) of which nothing is left when its longer side is ``longest``."""
    if min(size) * longest < max(size):
        raise DataError(
            f"an image of {size[1]}x{size[0]} pixels is too narrow: nothing is left of it when its longer side is "
            f"{longest}.",
            "cut it into pieces, or leave it out",
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
