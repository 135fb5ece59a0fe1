"""`maskx export-embeddings`: from the frozen detector to the RoI cache."""

from __future__ import annotations

import logging
from pathlib import Path

from maskx_pipeline.cache import export
from maskx_pipeline.cache.export import ExportPlan
from maskx_pipeline.config import (
    DataConfig,
    ExportConfig,
    MasksConfig,
)
from maskx_pipeline.detection.load import LoadedDetector, load_detector
from maskx_pipeline.engine import distributed
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_data

logger = logging.getLogger("maskx")


def plan_export(config: ExportConfig, data: DataConfig, *, masks: MasksConfig = NO_MASKS) -> ExportPlan:
    """What an export would write: RoIs, bytes, expected time. Nothing is written."""
    loaded = load_detector_of(config)
    train, val = read_mask_data(data, masks, categories=loaded.categories)
    return export.plan_export(config, loaded=loaded, train=train, val=val)


def export_embeddings(
    config: ExportConfig, data: DataConfig, *, masks: MasksConfig = NO_MASKS, overwrite: bool = False
) -> Path:
    """Write class weights and RoI features of the frozen detector to the RoI cache.

    Args:
        config: The settings.
        data: The data set.
        masks: Another data set for the RoIs of train and val, if its paths are given.
        overwrite: Replace what is there.

    Returns:
        The cache file.
    """
    distributed.start()
    loaded = load_detector_of(config)
    train, val = read_mask_data(data, masks, categories=loaded.categories)
    return export.export_embeddings(config, loaded=loaded, train=train, val=val, overwrite=overwrite)


def load_detector_of(config: ExportConfig) -> LoadedDetector:
    return load_detector(config.detector, checkpoint=config.checkpoint)
