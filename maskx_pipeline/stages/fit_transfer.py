"""`maskx fit-transfer`: stage 2."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.detection.detector_class import make_detector
from maskx_pipeline.detection.identity import detector_identities
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import LONGER_FIT, Run, open_run
from maskx_pipeline.errors import MaskXError
from maskx_pipeline.evaluation.quick import quick_metrics
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.settings import class_of
from maskx_pipeline.stages.inputs import NO_MASKS, NOTHING, embedding_files, read_mask_data, record_masks
from maskx_pipeline.stages.names import run_name
from maskx_pipeline.transfer import fit

logger = logging.getLogger("maskx")


def fit_transfer(
    config: TransferConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    classes: DetectorClasses = NO_CLASSES,
    accepted: Mapping[str, str] = NOTHING,
    overwrite: bool = False,
    command: str = "",
) -> Path:
    """Stage 2: train T and the mask head from the RoI cache, on the masks of the seen categories alone.

    Returns the run folder, ``out/name``.

    Args:
        accepted: By kind of finding, why it is right as it is; other errors of `maskx doctor` are refused.
    """
    distributed.start()
    folder = config.out / run_name(config)
    with RoICache(config.cache) as cache:
        train, val = read_mask_data(data, masks, categories=cache.categories, accepted=accepted)
        cache.check_matches(train_digest=train.digest, val_digest=val.digest)
        seen = resolve_category_set(config.split, train.categories, masked=masked_labels(train), seen=None)
        fit.check_fit(config, cache, seen=seen)
        if overwrite:
            amp_dtype(config.amp, resolve_device(config.device))  # an error comes before anything is removed
        with open_fit(folder, config, cache, seen=seen, command=command, overwrite=overwrite) as run:
            _warn_of_another_detector(config, cache, classes)
            record_masks(run, train, seen)
            if run.is_finished():
                fit.record_detector(run, config.detector)
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


def open_fit(
    folder: Path,
    config: TransferConfig,
    cache: RoICache,
    *,
    seen: frozenset[int],
    command: str = "",
    overwrite: bool = False,
) -> Run:
    """The run folder of a fit to these seen categories, new, to be resumed, or finished."""
    return open_run(
        folder,
        stage="fit-transfer",
        identity=config.identity(),
        config=config.to_mapping(),
        inputs={
            "cache": cache.digest,
            "seen categories": ",".join(map(str, sorted(seen))),
            **embedding_files(config, cache.categories),
        },
        command=command,
        overwrite=overwrite,
        tensorboard=config.tensorboard,
        longer=dataclasses.replace(LONGER_FIT, steps=fit.fit_iterations(config, cache, seen=seen)),
    )


def _warn_of_another_detector(config: TransferConfig, cache: RoICache, classes: DetectorClasses) -> None:
    """A model is fitted and evaluated from the cache alone, so that a missing detector is no error yet."""
    found: set[str] = set()
    reason = ""
    try:
        if class_of(config.detector):
            found = {make_detector(config.detector, classes.settings).identity}
        else:
            found = set(detector_identities(config.detector).values())
    except Exception as error:  # a class may raise anything
        reason = f" {error.message if isinstance(error, MaskXError) else repr(error)}"
    if cache.identity.detector_sha256 not in found:
        logger.warning(
            "%s is not the detector of %s.%s This model can be evaluated from the cache, but it cannot predict images. "
            "Give the right one with --detector, a run folder or a class, unless another program wrote the cache.",
            config.detector,
            config.cache,
            reason,
        )
