"""`maskx export-embeddings`: from the frozen detector to the RoI cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maskx_pipeline.cache import export
from maskx_pipeline.cache.export import ExportPlan
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, ExportConfig, MasksConfig
from maskx_pipeline.config.detection import ASSIGNED
from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.detection.detector_class import make_detector
from maskx_pipeline.detection.identity import read_detector_run, trained_with_masks
from maskx_pipeline.detection.of_run import DetectorOfRun
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import resolve_device
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.settings import class_of
from maskx_pipeline.stages.inputs import NO_MASKS, NOTHING, read_mask_data


def plan_export(
    config: ExportConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    classes: DetectorClasses = NO_CLASSES,
    accepted: Mapping[str, str] = NOTHING,
) -> ExportPlan:
    """What an export would write: RoIs, bytes, expected time. Nothing is written."""
    detector = open_detector(config, classes)
    train, val = read_mask_data(data, masks, categories=detector.categories, accepted=accepted)
    return export.plan_export(config, detector=detector, train=train, val=val)


def export_embeddings(
    config: ExportConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    classes: DetectorClasses = NO_CLASSES,
    accepted: Mapping[str, str] = NOTHING,
    overwrite: bool = False,
) -> Path:
    """Write class weights and RoI features of the frozen detector to the RoI cache.

    Args:
        masks: Another data set for the RoIs of train and val, if its paths are given.
        accepted: By kind of finding, why it is right as it is; other errors of `maskx doctor` are refused.

    Returns:
        The cache file.
    """
    distributed.start()
    there = not overwrite and distributed.on_main(config.out.exists)  # so it is compared, and the model not needed
    detector = open_detector(config, classes, build=not there)
    train, val = read_mask_data(data, masks, categories=detector.categories, accepted=accepted)
    with_masks = not class_of(config.detector) and trained_with_masks(read_detector_run(config.detector).config)
    identity = export.export_identity(config, detector, train, val, saw_masks=with_masks)
    path = export.write_cache(config, detector=detector, identity=identity, train=train, val=val, overwrite=overwrite)
    if class_of(config.detector):
        RoICache(path).close()  # says what is wrong with what the class gave
    return path


def open_detector(config: ExportConfig, classes: DetectorClasses, *, build: bool = True) -> Detector:
    """The detector that the settings name, a run or a class.

    Args:
        build: Build the model of a run now; else where it first looks at an image.

    Raises:
        ConfigError: It has no two maps to pool from as asked, or it is a class, which decides that itself.
    """
    if class_of(config.detector):
        if config.pool != ASSIGNED:
            raise ConfigError(
                f"--pool {config.pool} is for the detectors of `maskx detect`; {config.detector} pools as it was "
                "written to.",
                "leave out --pool, and concatenate the maps in its method pool",
            )
        return make_detector(config.detector, classes.settings)
    if not build:
        return DetectorOfRun(
            config.detector,
            checkpoint=config.checkpoint,
            device=config.device,
            amp=config.amp,
            pooling=config.pool,
        )
    from maskx_pipeline.detection.load import load_detector

    loaded = load_detector(config.detector, checkpoint=config.checkpoint)
    return loaded.frozen(device=resolve_device(config.device), amp=config.amp, pooling=config.pool)
