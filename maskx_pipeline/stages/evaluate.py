"""`maskx evaluate`: AP on a category set."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, EvaluateConfig, MasksConfig
from maskx_pipeline.data.category_sets import count_objects, masked_labels, resolve_category_set
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import CacheError, ConfigError
from maskx_pipeline.evaluation.box_figures import figures_of_sets
from maskx_pipeline.evaluation.box_iou_file import read_box_iou
from maskx_pipeline.evaluation.box_masks import Rle, masks_from_cache, predictions_and_masks_from_images
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.detection_limit import limit_notes
from maskx_pipeline.evaluation.evaluate import evaluate_results, read_results, write_results
from maskx_pipeline.evaluation.expectation import expectation_of
from maskx_pipeline.evaluation.figures import Evaluation
from maskx_pipeline.evaluation.predictions import predictions_from_cache
from maskx_pipeline.model_run import ModelRun, open_model
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.stages.box_rivals import with_rivals
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_train, read_mask_val
from maskx_pipeline.stages.names import evaluation_folder

logger = logging.getLogger("maskx")


def evaluate(
    config: EvaluateConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    classes: DetectorClasses = NO_CLASSES,
    overwrite: bool = False,
    command: str = "",
) -> Evaluation:
    """Mask IoU at the true boxes, and box and mask AP, on a category set and beside it on seen and unseen categories.

    The masks of all detections are kept in the run folder (``evaluation/``), so that another category set costs only
    the measurement. Where ``masks`` is given, its val is measured on, as the RoI cache was made from it. Several
    processes share the images; the main one measures and writes, and all get the figures.
    """
    distributed.start()
    model = open_model(
        config.model, runs=config.runs, checkpoint=config.checkpoint, detector=config.detector, classes=classes
    )
    val = read_mask_val(data, masks, categories=model.categories)
    masked: frozenset[int] = frozenset()
    if config.split == "masked":
        masked = masked_labels(read_mask_train(data, masks, categories=model.categories))
    labels = resolve_category_set(config.split, val.categories, masked=masked, seen=model.seen)
    with _open_cache(config, model, val) as cache:
        origin = "images" if cache is None else "cache"
        folder = evaluation_folder(model.folder, origin, config)
        whole = None
        if cache is None and (overwrite or not distributed.on_main((folder / "results.json").is_file)):
            whole = model.whole_model(config.device)  # known to be there before an earlier result is removed
        at = resolve_device(config.device)
        with open_run(
            folder,
            stage="evaluate",
            identity={"from": origin, "weights": model.sha256},
            config=config.to_mapping(),
            inputs={"val annotations": val.digest},
            command=command,
            overwrite=overwrite,
        ) as run:
            results_file = run.folder / "results.json"
            dtype = amp_dtype(model.amp, at)
            done = distributed.on_main(lambda: run.state == "finished" and results_file.is_file())
            measured = distributed.on_main(
                lambda: read_box_iou(folder, val_digest=val.digest, identity=model.sha256) is not None
            )
            results: list[Result] = []
            at_boxes: dict[int, Rle] | None = None
            if not done:
                if cache is None:
                    results, at_boxes = predictions_and_masks_from_images(
                        whole or model.whole_model(config.device), val
                    )
                else:
                    results = predictions_from_cache(cache, model.mask_model, val, device=at, amp_dtype=dtype)
                distributed.on_main(lambda: write_results(results_file, results))
                run.finish()
            if at_boxes is None and not measured:
                if cache is None:  # the run was finished, and what it measured here was lost
                    at_boxes = predictions_and_masks_from_images(model.whole_model(config.device), val)[1]
                else:
                    at_boxes = masks_from_cache(cache, model.mask_model, val, device=at, amp_dtype=dtype)

    def measure() -> Evaluation:
        found = read_results(results_file) if done else results
        box_iou = with_rivals(
            val, folder, masks=lambda: at_boxes or {}, identity=model.sha256, model=model, against=config.against
        )
        for note in limit_notes(found, count_objects(val), most=config.max_detections):
            logger.warning(note)
        evaluation = evaluate_results(
            found,
            val,
            labels=labels,
            split=config.split,
            seen=model.seen,
            model=model.folder,
            source=origin,
            max_detections=config.max_detections,
        )
        boxes = figures_of_sets(box_iou, split=config.split, labels=labels, seen=model.seen, categories=val.categories)
        evaluation = replace(evaluation, boxes=boxes, expected=expectation_of(model.expected))
        evaluation.write(folder)
        return evaluation

    return distributed.on_main(measure)


@contextlib.contextmanager
def _open_cache(config: EvaluateConfig, model: ModelRun, val: CocoData) -> Iterator[RoICache | None]:
    """The cache that holds the detections; None where they come from the images."""
    if config.from_ == "images" or (model.cache is None and config.from_ == "auto"):
        yield None
        return
    if model.cache is None:
        raise ConfigError(
            "A model of `maskx e2e` has its own detector, and no cache was made with that one.",
            "evaluate with --from images",
        )
    with contextlib.ExitStack() as stack:
        cache = None
        try:
            cache = stack.enter_context(RoICache(model.cache))
            if cache.digest != model.cache_digest:
                raise CacheError(
                    f"{model.cache} was exported again after {model.folder} was fitted from it.",
                    "fit again with --overwrite, or evaluate with --from images",
                )
            cache.check_matches(detector_sha256=model.detector_identity, val_digest=val.digest)
        except CacheError as error:
            if config.from_ == "cache":
                raise
            logger.warning("%s Evaluating on the images instead.", error.message)
            cache = None
        yield cache
