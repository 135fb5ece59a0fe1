"""`maskx export-embeddings`: from the frozen detector to the RoI cache."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.cache import export
from maskx_pipeline.cache.export import ExportPlan
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import CacheIdentity
from maskx_pipeline.config import DataConfig, ExportConfig, MasksConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.detection.detector_class import make_detector
from maskx_pipeline.detection.load import load_detector
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import resolve_device
from maskx_pipeline.model_run import NO_CLASSES
from maskx_pipeline.project import DetectorClasses
from maskx_pipeline.settings import class_of
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_data

_OF_A_RUN = ("checkpoint", "amp")  # say nothing of a detector that is a class


def plan_export(
    config: ExportConfig, data: DataConfig, *, masks: MasksConfig = NO_MASKS, classes: DetectorClasses = NO_CLASSES
) -> ExportPlan:
    """What an export would write: RoIs, bytes, expected time. Nothing is written."""
    detector = open_detector(config, classes)
    train, val = read_mask_data(data, masks, categories=detector.categories)
    return export.plan_export(config, detector=detector, train=train, val=val)


def export_embeddings(
    config: ExportConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    classes: DetectorClasses = NO_CLASSES,
    overwrite: bool = False,
) -> Path:
    """Write class weights and RoI features of the frozen detector to the RoI cache.

    Args:
        config: The settings.
        data: The data set.
        masks: Another data set for the RoIs of train and val, if its paths are given.
        classes: The settings of a detector that is a class.
        overwrite: Replace what is there.

    Returns:
        The cache file.
    """
    distributed.start()
    if not class_of(config.detector):
        loaded = load_detector(config.detector, checkpoint=config.checkpoint)
        train, val = read_mask_data(data, masks, categories=loaded.categories)
        identity = export.export_identity(config, loaded.config, loaded.sha256, train, val)
        detector = loaded.frozen(device=resolve_device(config.device), amp=config.amp)
        return export.write_cache(
            config, detector=detector, identity=identity, train=train, val=val, overwrite=overwrite
        )
    other = open_detector(config, classes)
    train, val = read_mask_data(data, masks, categories=other.categories)
    path = export.write_cache(
        config,
        detector=other,
        identity=_identity_of_class(config, other, train, val),
        train=train,
        val=val,
        overwrite=overwrite,
    )
    RoICache(path).close()  # says what is wrong with what the class gave
    return path


def open_detector(config: ExportConfig, classes: DetectorClasses) -> Detector:
    """The detector that the settings name, a run or a class."""
    if class_of(config.detector):
        return make_detector(config.detector, classes.settings)
    loaded = load_detector(config.detector, checkpoint=config.checkpoint)
    return loaded.frozen(device=resolve_device(config.device), amp=config.amp)


def _identity_of_class(config: ExportConfig, detector: Detector, train: CocoData, val: CocoData) -> CacheIdentity:
    settings = {name: value for name, value in config.identity().items() if name not in _OF_A_RUN}
    return CacheIdentity(detector.identity, settings, train.digest, val.digest)
