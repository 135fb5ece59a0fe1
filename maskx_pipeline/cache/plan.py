"""What an export will store, and whether there is room for it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskx_pipeline.cache.colours import colour_patches
from maskx_pipeline.cache.layout import index_bytes
from maskx_pipeline.cache.rois import choose_objects
from maskx_pipeline.cache.schema import Dimensions
from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import CocoData, ImageRecord
from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.engine.environment import free_disk
from maskx_pipeline.errors import DataError, MachineError
from maskx_pipeline.text import format_bytes


@dataclass(frozen=True, slots=True)
class ImageSeconds:
    """Seconds of the export for an image of train, whose detections it does not need, and for one of val."""

    train: float
    val: float


@dataclass(frozen=True)
class ExportPlan:
    """What an export will store at most.

    Attributes:
        train_images: Training images with an object that is stored; the others are not looked at.
        masked_rois: The most RoIs of train of objects with a mask.
        unmasked_rois: The same of objects without a mask.
        seconds: Expected time, None where it was not measured.
    """

    train_images: int
    val_images: int
    masked_rois: int
    unmasked_rois: int
    detection_rois: int
    ground_truth_rois: int
    bytes: int
    seconds: float | None = None

    @property
    def images(self) -> int:
        """All images to look at."""
        return self.train_images + self.val_images

    @property
    def train_rois(self) -> int:
        """The most RoIs of train."""
        return self.masked_rois + self.unmasked_rois

    @property
    def rois(self) -> int:
        """The most RoIs of all groups."""
        return self.train_rois + self.detection_rois + self.ground_truth_rois

    def to_json(self) -> dict[str, Any]:
        """All numbers as a JSON object."""
        return {"images": self.images, "rois": self.rois, "train_rois": self.train_rois, **dataclasses.asdict(self)}

    def to_text(self) -> str:
        """The numbers for a reader, one per line."""
        lines = [
            f"images   {self.images} ({self.train_images} of train, {self.val_images} of val)",
            f"RoIs     at most {self.rois} ({self.masked_rois} of masked and {self.unmasked_rois} of unmasked objects "
            f"of train, {self.detection_rois} detections and {self.ground_truth_rois} objects of val)",
            f"disk     at most {format_bytes(self.bytes)}",
        ]
        if self.seconds is not None:
            lines.append(f"time     about {max(self.seconds / 60, 0.1):.1f} min, measured on a few images")
        return "\n".join(lines)


def count_export(
    config: ExportConfig, detector: Detector, train: CocoData, val: CocoData, image_seconds: ImageSeconds | None = None
) -> ExportPlan:
    """Count what an export will store at most, and expect a time from what :func:`measure_export` says."""
    chosen = choose_objects(config, train)
    masked = int(train.annotations().has_mask[chosen].sum())
    return plan_of_counts(
        config,
        train_images=len(train_images(train, chosen)),
        val_images=len(val.images),
        masked_objects=masked,
        unmasked_objects=int(chosen.sum()) - masked,
        val_objects=ground_truth_rows(val, val.images),
        detections_per_image=detector.detections_per_image,
        channels=detector.channels,
        image_seconds=image_seconds,
    )


def plan_of_counts(
    config: ExportConfig,
    *,
    train_images: int,
    val_images: int,
    masked_objects: int,
    unmasked_objects: int,
    val_objects: int,
    detections_per_image: int,
    channels: int,
    image_seconds: ImageSeconds | None = None,
) -> ExportPlan:
    """What an export of a data set of these counts will store at most; see :func:`count_export`.

    Args:
        train_images: Training images with an object that is stored.
        masked_objects: Objects of train that have a mask and are no crowd.
        unmasked_objects: Objects of train that are stored without a mask.
        val_objects: Objects of val that are no crowd.
    """
    masked, unmasked = _rows_of(config, masked_objects), _rows_of(config, unmasked_objects)
    train_rois = masked + unmasked
    detections = val_images * detections_per_image
    dimensions = Dimensions.of(config, channels=channels)
    train_chunks = train_rois * len(dimensions.large_columns("train"))
    size = (
        train_rois * dimensions.row_bytes("train")
        + detections * dimensions.row_bytes("detections")
        + val_objects * dimensions.row_bytes("ground_truth")
        + index_bytes(train_chunks + detections + val_objects)
    )
    seconds = None
    if image_seconds is not None:
        seconds = image_seconds.train * train_images * (2 if config.flip else 1) + image_seconds.val * val_images
    return ExportPlan(train_images, val_images, masked, unmasked, detections, val_objects, size, seconds)


def measure_export(config: ExportConfig, detector: Detector, train: CocoData, *, sample: int = 3) -> ImageSeconds:
    """Time a few training images as the export looks at those of train, and as at those of val; the first warms up.

    Raises:
        DataError: There is no image.
    """
    stored = choose_objects(config, train)
    images = train_images(train, stored) or train.images
    if not images:
        raise DataError(f"{train.path} has no image to measure the export on.")
    chosen = [images[int(i)] for i in np.linspace(0, len(images) - 1, min(sample + 1, len(images)))]
    seconds = np.zeros((len(chosen), 2))
    for number, record in enumerate(chosen):
        rois = int(stored[train.rows_of(record.id)].sum()) * config.most_rois_of_object
        for of_val in (False, True):
            began = time.perf_counter()
            pixels = read_image(train.image_path(record.id), width=record.width, height=record.height)
            image = detector.extract(pixels.float() / 255)
            boxes = image.detections.boxes_xyxy if of_val else image.proposals_xyxy[:rois]
            image.pool(boxes, config.roi_size).to(torch.float16).cpu()
            if config.colours and not of_val:
                colour_patches(pixels.permute(1, 2, 0).numpy(), boxes.float().cpu().numpy(), config.mask_size)
            seconds[number, int(of_val)] = time.perf_counter() - began
    return ImageSeconds(*(seconds[1:] if len(chosen) > 1 else seconds).mean(axis=0).tolist())


def train_images(train: CocoData, chosen: NDArray[np.bool_]) -> tuple[ImageRecord, ...]:
    """The images that have a chosen object; see :func:`choose_objects`."""
    return tuple(image for image in train.images if chosen[train.rows_of(image.id)].any())


def train_rows(config: ExportConfig, train: CocoData, images: Sequence[ImageRecord], chosen: NDArray[np.bool_]) -> int:
    """The most rows that the chosen objects of these images can get."""
    return _rows_of(config, sum(int(chosen[train.rows_of(image.id)].sum()) for image in images))


def _rows_of(config: ExportConfig, objects: int) -> int:
    return objects * config.most_rois_of_object * (2 if config.flip else 1)


def ground_truth_rows(val: CocoData, images: Sequence[ImageRecord]) -> int:
    """The objects in these images."""
    iscrowd = val.annotations().iscrowd
    return sum(int((~iscrowd[val.rows_of(image.id)]).sum()) for image in images)


def check_disk(folder: Path, needed: int) -> None:
    """Check that a folder, which need not exist yet, has room for ``needed`` bytes.

    Raises:
        MachineError: It has not.
    """
    existing, free = free_disk(folder)
    if free < needed:
        raise MachineError(
            f"the RoI cache may need {format_bytes(needed)} more, and {existing} has {format_bytes(free)} free.",
            "free some space, give --out on another disk or --feature-dtype int8, or lower --rois-per-object or "
            "--unmasked-objects",
        )
