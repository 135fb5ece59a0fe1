"""`maskx evaluate --teacher`: a teacher's masks in the place of a model's (GrabCut: paper, section 4.3 and Table 2)."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict, replace
from pathlib import Path

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import DEFAULT_TEACHERS, DataConfig, EvaluateTeacherConfig, MasksConfig, TeacherSettings
from maskx_pipeline.data.category_sets import count_objects, masked_labels, resolve_category_set
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.evaluation.box_figures import figures_of_sets
from maskx_pipeline.evaluation.box_masks import Rle, objects_of
from maskx_pipeline.evaluation.coco_ap import Result
from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS, limit_notes
from maskx_pipeline.evaluation.evaluate import evaluate_results, read_results, write_results
from maskx_pipeline.evaluation.figures import Evaluation
from maskx_pipeline.stages.box_rivals import with_rivals
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_train, read_mask_val, read_train
from maskx_pipeline.teachers.construction import ask_teacher, teacher_name
from maskx_pipeline.teachers.predictions import predictions_by_teacher

logger = logging.getLogger("maskx")


def evaluate_teacher(
    teacher: str,
    config: EvaluateTeacherConfig,
    data: DataConfig,
    *,
    split: str = "all",
    max_detections: int = MOST_DETECTIONS,
    runs: Path = Path("runs"),
    teachers: TeacherSettings = DEFAULT_TEACHERS,
    device: str = "auto",
    masks: MasksConfig = NO_MASKS,
    overwrite: bool = False,
    command: str = "",
) -> Evaluation:
    """AP of boxes with a teacher's masks: of the cached detections, or of the boxes that val gives.

    At given boxes it is also their mask IoU, beside shapes in the box.

    No mask is trained on, so the run counts as trained on none; ``config.seen`` only says which categories' AP is
    reported as seen, to stand beside models trained on them. Several processes share the images; the main one measures
    and writes, and all get the figures.

    Args:
        runs: The folder of the run is made here, if ``config.out`` is not given.
    """
    distributed.start()
    name = teacher_name(teacher)
    given = config.boxes == "given"
    out = config.out or runs / "transfer" / (f"{name}-given-boxes" if given else name)
    with contextlib.ExitStack() as stack:
        cache = None if given else stack.enter_context(RoICache(config.cache))
        categories = read_train(data).categories if cache is None else cache.categories
        val = read_mask_val(data, masks, categories=categories)
        if cache is not None:
            cache.check_matches(val_digest=val.digest)
        masked: frozenset[int] = frozenset()
        if "masked" in (split, config.seen):
            masked = masked_labels(read_mask_train(data, masks, categories=categories))
        seen = frozenset(resolve_category_set(config.seen, val.categories, masked=masked, seen=None))
        labels = resolve_category_set(split, val.categories, masked=masked, seen=seen)
        asked = ask_teacher(teacher, teachers, device=device)
        with open_run(
            out,
            stage="evaluate-teacher",
            identity={"teacher": asked.teacher.identity, "boxes": config.boxes},
            config={**config.to_mapping(), "teacher": teacher, "split": split},
            inputs={"val annotations": val.digest, **({} if cache is None else {"cache": cache.digest})},
            command=command,
            overwrite=overwrite,
        ) as run:
            folder = out / "evaluation" / ("given-boxes" if given else "cache")
            done = distributed.on_main(lambda: run.state == "finished" and (folder / "results.json").is_file())
            made: list[Result] = []
            if not done:
                made, whole = predictions_by_teacher(asked.teacher, val, cache, workers=asked.workers)
                distributed.on_main(lambda: write_results(folder / "results.json", made))
                run.update(seen=[], categories=[asdict(category) for category in val.categories])
                run.finish(detections=len(made), whole_boxes=whole)

    def measure() -> Evaluation:
        results = read_results(folder / "results.json") if done else made
        for note in limit_notes(results, count_objects(val), most=max_detections):
            logger.warning(note)
        evaluation = evaluate_results(
            results,
            val,
            labels=labels,
            split=split,
            seen=seen,
            model=out,
            source="given boxes" if given else "cache",
            max_detections=max_detections,
        )
        if given:

            def at_boxes() -> dict[int, Rle]:
                objects = [annotation for _, annotations in objects_of(val) for annotation in annotations]
                return {o.id: result["segmentation"] for o, result in zip(objects, results, strict=True)}

            box_iou = with_rivals(val, folder, masks=at_boxes, identity=asked.teacher.identity)
            boxes = figures_of_sets(box_iou, split=split, labels=labels, seen=seen, categories=val.categories)
            evaluation = replace(evaluation, boxes=boxes)
        evaluation.write(folder)
        return evaluation

    return distributed.on_main(measure)
