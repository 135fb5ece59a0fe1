"""The stages that train, and the export between them."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from maskx_pipeline.cache import export
from maskx_pipeline.cache.export import ExportPlan
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import (
    DataConfig,
    DetectConfig,
    E2EConfig,
    ExportConfig,
    MasksConfig,
    TransferConfig,
)
from maskx_pipeline.data.category_sets import count_masks, masked_labels, resolve_category_set
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.detection import train as detection
from maskx_pipeline.detection.backbone import content_of
from maskx_pipeline.detection.load import LoadedDetector, load_detector
from maskx_pipeline.detection.model import check_detector
from maskx_pipeline.e2e import train as joint_training
from maskx_pipeline.e2e.load import STAGE as E2E
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.e2e.start import read_start
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import Run, open_run
from maskx_pipeline.errors import MaskXError
from maskx_pipeline.evaluation.joint import joint_metrics
from maskx_pipeline.evaluation.predictions import box_ap
from maskx_pipeline.evaluation.quick import quick_metrics
from maskx_pipeline.stages.inputs import NO_MASKS, embedding_files, read_data, read_mask_data
from maskx_pipeline.stages.names import e2e_run_name, run_name
from maskx_pipeline.transfer import fit

logger = logging.getLogger("maskx")


def train_detector(config: DetectConfig, data: DataConfig, *, overwrite: bool = False, command: str = "") -> Path:
    """Stage 1: train Faster R-CNN on the boxes of all categories.

    Returns:
        The run folder, with best.safetensors and last.safetensors.
    """
    distributed.start()
    train, val = read_data(data)
    check_detector(config)
    if overwrite:
        _check_machine(config)
    with open_run(
        config.out,
        stage="detect",
        identity=config.identity(),
        config=config.to_mapping(),
        inputs={
            "train annotations": train.digest,
            "val annotations": val.digest,
            "backbone weights": content_of(config.backbone_weights),
        },
        command=command,
        overwrite=overwrite,
        tensorboard=config.tensorboard,
    ) as run:
        if run.state == "finished":
            logger.info("%s is finished and unchanged.", config.out)
            return config.out
        device = resolve_device(config.device)
        dtype = amp_dtype(config.amp, device)
        detection.train_detector(
            config, train, run=run, evaluate=lambda detector: box_ap(detector, val, device=device, amp_dtype=dtype)
        )
    return config.out


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


def fit_transfer(
    config: TransferConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    overwrite: bool = False,
    command: str = "",
) -> Path:
    """Stage 2: train T and the mask head from the RoI cache, on the masks of the seen categories alone.

    Args:
        config: The settings.
        data: The data set.
        masks: As given to :func:`export_embeddings`.
        overwrite: Replace an earlier run.
        command: For the record.

    Returns:
        The run folder, ``out/name``.
    """
    folder = config.out / run_name(config)
    with RoICache(config.cache) as cache:
        train, val = read_mask_data(data, masks, categories=cache.categories)
        cache.check_matches(train_digest=train.digest, val_digest=val.digest)
        seen = resolve_category_set(config.split, train.categories, masked=masked_labels(train), seen=None)
        fit.check_fit(config, cache, seen=seen)
        if overwrite:
            _check_machine(config)
        with open_run(
            folder,
            stage="fit-transfer",
            identity=config.identity(),
            config=config.to_mapping(),
            inputs={
                "cache": cache.digest,
                "seen categories": ",".join(map(str, sorted(seen))),
                **embedding_files(config),
            },
            command=command,
            overwrite=overwrite,
            tensorboard=config.tensorboard,
        ) as run:
            _warn_of_another_detector(config, cache)
            _record_masks(run, train, seen)
            if run.state == "finished":
                fit.record_detector(run, config.detector)
                logger.info("%s is finished and unchanged.", folder)
                return folder
            dtype = amp_dtype(config.amp, resolve_device(config.device))
            fit.fit_transfer(
                config,
                cache,
                seen=seen,
                run=run,
                evaluate=lambda model: quick_metrics(model, cache, val, seen=seen, amp_dtype=dtype),
            )
    return folder


def _check_machine(config: DetectConfig | TransferConfig | E2EConfig) -> None:
    """Find out whether device and precision are there, before an earlier run is removed."""
    amp_dtype(config.amp, resolve_device(config.device))


def _record_masks(run: Run, train: CocoData, seen: Collection[int]) -> None:
    """Note in run.json how many training objects of each seen category have a mask, by the category's id."""
    counts = count_masks(train)
    masks = {str(category.id): counts[category.label] for category in train.categories if category.label in seen}
    if run.record.get("masks") != masks:
        run.update(masks=masks)


def _warn_of_another_detector(config: TransferConfig, cache: RoICache) -> None:
    """A model is fitted and evaluated from the cache alone, so that a missing detector is no error yet."""
    try:
        found = {load_detector(config.detector, checkpoint=name).sha256 for name in ("best", "last")}
    except MaskXError:
        found = set()
    if cache.identity.detector_sha256 not in found:
        logger.warning(
            "%s is not the detector of %s, so this model can be evaluated from the cache but not predict on images. "
            "Give the right one with --detector, unless another program's detector wrote the cache.",
            config.detector,
            config.cache,
        )


def train_e2e(
    config: E2EConfig,
    data: DataConfig,
    *,
    detect: DetectConfig,
    transfer: TransferConfig,
    asked: Collection[str] = (),
    overwrite: bool = False,
    command: str = "",
) -> Path:
    """Train detector, T and mask head jointly: the boxes of all categories, the masks of the seen ones.

    Args:
        config: The settings.
        data: The data set.
        detect: The settings of a new detector, at a start from the backbone.
        transfer: The settings of a new mask model.
        asked: Fields of ``transfer`` that must hold even if ``config.init`` brings a mask model of its own.

    Returns:
        The run folder, ``out/name``.
    """
    distributed.start()
    train, val = read_data(data)
    seen = resolve_category_set(config.split, train.categories, masked=masked_labels(train), seen=None)
    start = read_start(
        config,
        detect=detect,
        transfer=transfer,
        asked=asked,
        categories=train.categories,
        seen=seen,
    )
    masks = SeenMasks(train, seen=seen, size=2 * config.roi_size)
    if overwrite:
        _check_machine(config)
    folder = config.out / e2e_run_name(config, start.transfer)
    with open_run(
        folder,
        stage=E2E,
        identity={**start.identity(), **config.identity()},
        config=config.to_mapping(),
        inputs={
            "train annotations": train.digest,
            "val annotations": val.digest,
            "init": start.content,
            "seen categories": ",".join(map(str, sorted(seen))),
            **embedding_files(start.transfer),
        },
        command=command,
        overwrite=overwrite,
        tensorboard=config.tensorboard,
    ) as run:
        _record_masks(run, train, seen)
        if run.state == "finished":
            logger.info("%s is finished and unchanged.", folder)
            return folder
        device = resolve_device(config.device)
        dtype = amp_dtype(config.amp, device)
        joint_training.train_joint_model(
            config,
            train,
            start=start,
            seen=seen,
            masks=masks,
            run=run,
            evaluate=lambda model: joint_metrics(model, val, seen=seen, device=device, amp_dtype=dtype),
        )
    return folder


def load_detector_of(config: ExportConfig) -> LoadedDetector:
    return load_detector(config.detector, checkpoint=config.checkpoint)
