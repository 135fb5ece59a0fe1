"""`maskx evaluate-grabcut`: masks by GrabCut at test (paper, section 4.3 and Table 2)."""

from __future__ import annotations

from dataclasses import asdict

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DataConfig, EvaluateGrabCutConfig, GrabCutConfig, MasksConfig
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.evaluation.evaluate import evaluate_results, read_results, write_results
from maskx_pipeline.evaluation.figures import Evaluation
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_train, read_mask_val
from maskx_pipeline.teachers.grabcut import GrabCut
from maskx_pipeline.teachers.grabcut_predictions import predictions_by_grabcut


def evaluate_grabcut(
    config: EvaluateGrabCutConfig,
    grabcut: GrabCutConfig,
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    overwrite: bool = False,
    command: str = "",
) -> Evaluation:
    """Faster R-CNN tested with GrabCut: AP of the cached detections, each with GrabCut's foreground of its box.

    No mask is trained on, so the run counts as trained on none; ``config.seen`` only says which categories' AP is
    reported as seen, to stand beside models trained on them.
    """
    with RoICache(config.cache) as cache:
        val = read_mask_val(data, masks, categories=cache.categories)
        cache.check_matches(val_digest=val.digest)
        masked: frozenset[int] = frozenset()
        if "masked" in (config.split, config.seen):
            masked = masked_labels(read_mask_train(data, masks, categories=cache.categories))
        seen = frozenset(resolve_category_set(config.seen, val.categories, masked=masked, seen=None))
        labels = resolve_category_set(config.split, val.categories, masked=masked, seen=seen)
        with open_run(
            config.out,
            stage="evaluate-grabcut",
            identity=grabcut.identity(),
            config={**grabcut.to_mapping(), **config.to_mapping()},
            inputs={"cache": cache.digest, "val annotations": val.digest},
            command=command,
            overwrite=overwrite,
        ) as run:
            folder = config.out / "evaluation" / "cache"
            if run.state == "finished" and (folder / "results.json").is_file():
                results = read_results(folder / "results.json")
            else:
                cutter = GrabCut(iterations=grabcut.iterations, context=grabcut.context, seed=grabcut.seed)
                results, whole = predictions_by_grabcut(cache, val, grabcut=cutter, workers=grabcut.workers)
                write_results(folder / "results.json", results)
                run.update(seen=[], categories=[asdict(category) for category in val.categories], opencv=cutter.version)
                run.finish(detections=len(results), whole_boxes=whole)
    evaluation = evaluate_results(
        results, val, labels=labels, split=config.split, seen=seen, model=config.out, source="cache"
    )
    evaluation.write(folder)
    return evaluation
