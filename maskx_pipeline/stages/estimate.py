"""How long each stage will take on this machine, and how much disk: measured on a few images and steps."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from torchvision.models.detection import FasterRCNN

from maskx_pipeline.cache.plan import ExportPlan, count_export, measure_export
from maskx_pipeline.config import DataConfig, DetectConfig, E2EConfig, ExportConfig, MasksConfig, TransferConfig
from maskx_pipeline.data.category_sets import (
    count_masks,
    count_objects,
    count_teacher_masks,
    masked_labels,
    resolve_category_set,
)
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.detection.class_weights import class_weights
from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.image_training import long_schedule
from maskx_pipeline.detection.model import FOREGROUND_FRACTION
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.errors import RunError
from maskx_pipeline.evaluation.quick import most_detections
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.stages.costs import HeadCosts, head_costs, seconds_of_detector_step, untrained_detector
from maskx_pipeline.stages.export_embeddings import open_detector
from maskx_pipeline.stages.inputs import NO_MASKS, read_data, read_mask_data
from maskx_pipeline.text import format_bytes, format_seconds, table

logger = logging.getLogger("maskx")

_FILES = 4  # best.safetensors, last.safetensors, and a state that holds weights and momentum

_ASSUMED = (
    "One process on one device; the machine as busy as now.",
    "Time grows with the number of images, RoIs and steps; images are read as fast as they are needed.",
    "A new detector costs what an untrained one of its settings does; an image has all detections that it may have.",
    "Box and mask AP are computed in the time of the forward passes. Disk is an upper bound, without predictions.",
)


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """Expected seconds of one stage, and the most bytes of its result; None where it writes next to nothing."""

    stage: str
    seconds: float
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What `estimate_stages` expects.

    ``measured`` says what was timed here, ``assumed`` what was not, ``notes`` what to know besides.
    """

    stages: tuple[StageEstimate, ...]
    measured: tuple[str, ...]
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = _ASSUMED

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """A table of the stages, then what was measured, what assumed, and the notes."""
        rows = []
        for stage in self.stages:
            disk = "-" if stage.bytes is None else format_bytes(stage.bytes)
            rows.append([stage.stage, format_seconds(stage.seconds), disk])
        lines = [table(["stage", "time", "disk"], rows, words=[True, False, False])]
        for word, sentences in (("measured", self.measured), ("assumed", self.assumed), ("note", self.notes)):
            lines += [f"{word}: {sentence}" for sentence in sentences]
        return "\n".join(lines)


def estimate_stages(
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    detect: DetectConfig,
    export: ExportConfig,
    transfer: TransferConfig,
    e2e: E2EConfig,
    classes: DetectorClasses = NO_CLASSES,
) -> Estimate:
    """Time a few images and steps, and count the rest; takes minutes on a CPU, writes and downloads nothing.

    Args:
        data: The data set; sound, as `check_data` finds.
        masks: Another data set for stage 2, if its paths are given.
        export: Where its detector exists, that one is timed in place of an untrained one.

    Raises:
        DataError: No image has a box, or the split has no masks.
        MachineError: No such device.
    """
    train, val = read_data(data, check=False)
    mask_train, mask_val = read_mask_data(data, masks, categories=train.categories, check=False)
    seen = resolve_category_set(transfer.split, train.categories, masked=masked_labels(mask_train), seen=None)
    device = resolve_device(detect.device)
    logger.info("Timing a few images and steps of the detector and the mask model, on %s.", device)
    model = untrained_detector(detect, train.num_classes)
    step = seconds_of_detector_step(detect, model, train, device=device)
    weights, parameters = class_weights(model), sum(parameter.numel() for parameter in model.parameters())
    detector, which = _detector(export, model, classes)
    detections = detector.detections_per_image
    image = measure_export(export, detector, mask_train)
    plan = count_export(export, detector, mask_train, mask_val, image)
    heads = head_costs(
        transfer, weights=weights, categories=train.categories, channels=detector.channels, roi_size=export.roi_size,
        device=resolve_device(transfer.device),
    )  # fmt: skip
    foreground = detect.rois_per_image * FOREGROUND_FRACTION
    return Estimate(
        stages=(
            StageEstimate(
                "detect train",
                detect.iterations * detect.images_per_batch * step
                + _times(detect.iterations, detect.eval_every) * len(val.images) * image.val,
                _FILES * 4 * parameters,
            ),
            StageEstimate("export-embeddings", plan.seconds or 0.0, plan.bytes),
            _fit(transfer, _rois(export, mask_train, seen), plan, heads),
            StageEstimate("evaluate", plan.detection_rois * heads.mask, None),
            StageEstimate(
                "e2e (in place of fit-transfer)",
                e2e.iterations * e2e.images_per_batch * (step + foreground * heads.step)
                + _times(e2e.iterations, e2e.eval_every) * len(val.images) * (image.val + detections * heads.mask),
                _FILES * 4 * (parameters + heads.parameters),
            ),
        ),
        measured=(
            f"{format_seconds(step)} for an image in a training step of the detector, on {device}.",
            f"{format_seconds(image.val)} for an image through {which}, {format_seconds(image.train)} without its box "
            f"head, on {resolve_device(export.device)}.",
            f"{format_seconds(heads.step)} for an RoI in a step of fit-transfer, {format_seconds(heads.mask)} for a "
            f"mask at test, on {heads.device}.",
        ),
        notes=_notes(detect, train),
    )


def _notes(detect: DetectConfig, train: CocoData) -> tuple[str, ...]:
    note = long_schedule(detect, images=len(count_objects(train)))
    return (note,) if note else ()


def _detector(export: ExportConfig, untrained: FasterRCNN, classes: DetectorClasses) -> tuple[Detector, str]:
    """The detector to export, where there is one already, and how it is called."""
    try:
        return open_detector(export, classes), f"the detector of {export.detector}"
    except RunError:
        device = resolve_device(export.device)
        frozen = FrozenDetector(untrained, device=device, amp_dtype=amp_dtype(export.amp, device), pooling=export.pool)
        return frozen, "an untrained detector"


def _fit(config: TransferConfig, rois: int, plan: ExportPlan, heads: HeadCosts) -> StageEstimate:
    passes = config.passes(max(rois, 1))
    measurements = _times(passes, config.eval_every)
    boxes = 0.0 if config.box_loss == "none" else (config.box_rois_per_batch or config.rois_per_batch)
    seconds = passes * rois * (1 + boxes / config.rois_per_batch) * heads.step
    seconds += measurements * min(plan.detection_rois, 2 * most_detections(heads.device)) * heads.mask
    return StageEstimate("fit-transfer", seconds, _FILES * 4 * heads.parameters)


def _rois(export: ExportConfig, train: CocoData, seen: frozenset[int]) -> int:
    """The most RoIs in the cache whose masks are trained on."""
    objects = sum(count for label, count in count_masks(train).items() if label in seen)
    objects += count_teacher_masks(train).total()
    return objects * export.most_rois_of_object * (2 if export.flip else 1)


def _times(length: float, every: float) -> float:
    """How often is measured; at least at the end."""
    return max(1.0, length / every) if every > 0 else 1.0
