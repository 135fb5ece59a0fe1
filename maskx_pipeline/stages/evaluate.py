"""`maskx evaluate`: AP on a category set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import (
    DataConfig,
    EvaluateConfig,
    MasksConfig,
)
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.e2e.load import LoadedE2EModel
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import CacheError, ConfigError
from maskx_pipeline.evaluation.evaluate import evaluate_results, read_results, write_results
from maskx_pipeline.evaluation.figures import Evaluation
from maskx_pipeline.evaluation.predictions import predictions_from_cache, predictions_from_images
from maskx_pipeline.model_run import load_model, newest_run, whole_model
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_train, read_mask_val
from maskx_pipeline.transfer.load import LoadedMaskModel

logger = logging.getLogger("maskx")


def evaluate(
    config: EvaluateConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    overwrite: bool = False,
    command: str = "",
) -> Evaluation:
    """Box and mask AP on a category set, and beside it on the seen and unseen categories.

    The masks of all detections are kept in the run folder (``evaluation/``), so that another category set costs only
    the measurement. Where ``masks`` is given, its val is measured on, as the RoI cache was made from it.
    """
    folder = config.model or newest_run(config.runs)
    loaded = load_model(folder, config.checkpoint)
    val = read_mask_val(data, masks, categories=loaded.categories)
    masked: frozenset[int] = frozenset()
    if config.split == "masked":
        masked = masked_labels(read_mask_train(data, masks, categories=loaded.categories))
    labels = resolve_category_set(config.split, val.categories, masked=masked, seen=loaded.seen)
    origin = _origin(config, folder, loaded, val)
    results_folder = folder / "evaluation" / f"{origin}-{config.checkpoint}"
    if origin == "images" and (overwrite or not (results_folder / "results.json").is_file()):
        whole_model(loaded, device="cpu")  # known to be there before an earlier result is removed
    with open_run(
        results_folder,
        stage="evaluate",
        identity={"from": origin, "weights": loaded.sha256},
        config=config.to_mapping(),
        inputs={"val annotations": val.digest},
        command=command,
        overwrite=overwrite,
    ) as run:
        results_file = run.folder / "results.json"
        if run.state == "finished" and results_file.is_file():
            results = read_results(results_file)
        else:
            results = _predict_val(loaded, val, config, origin)
            write_results(results_file, results)
            run.finish()
    evaluation = evaluate_results(
        results, val, labels=labels, split=config.split, seen=loaded.seen, model=folder, source=origin
    )
    evaluation.write(run.folder)
    return evaluation


def _origin(config: EvaluateConfig, folder: Path, loaded: LoadedMaskModel | LoadedE2EModel, val: CocoData) -> str:
    """Where the detections come from: ``cache`` or ``images``."""
    if isinstance(loaded, LoadedE2EModel):
        if config.from_ == "cache":
            raise ConfigError(
                "A model of `maskx e2e` has a detector of its own, which no cache was made with.",
                "evaluate with --from images",
            )
        return "images"
    if config.from_ == "images":
        return "images"
    try:
        _check_cache(folder, loaded, val)
    except CacheError as error:
        if config.from_ == "cache":
            raise
        logger.warning("%s Evaluating on the images instead.", error.message)
        return "images"
    return "cache"


def _check_cache(folder: Path, loaded: LoadedMaskModel, val: CocoData) -> None:
    with RoICache(loaded.cache_path) as cache:
        if cache.digest != read_run(folder)["inputs"]["cache"]:
            raise CacheError(
                f"{loaded.cache_path} was exported anew since {folder} was fitted from it.",
                "fit again with --overwrite, or evaluate with --from images",
            )
        cache.check_matches(detector_sha256=loaded.detector_sha256, val_digest=val.digest)


def _predict_val(
    loaded: LoadedMaskModel | LoadedE2EModel, val: CocoData, config: EvaluateConfig, origin: str
) -> list[dict[str, Any]]:
    if origin == "images" or isinstance(loaded, LoadedE2EModel):
        return predictions_from_images(whole_model(loaded, device=config.device), val)
    with RoICache(loaded.cache_path) as cache:
        device = resolve_device(config.device)
        dtype = amp_dtype(loaded.config.amp, device)
        return predictions_from_cache(cache, loaded.model.to(device), val, device=device, amp_dtype=dtype)
