"""A teacher in the place of a model: cached detections, or the boxes of val, with its masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import own_teacher
import pytest
from evaluation_world import CPU, World, objects, write_data
from pycocotools import mask as coco_mask

from maskx_pipeline.config import DEFAULT_TEACHERS, DataConfig, EvaluateTeacherConfig, TeacherSettings
from maskx_pipeline.errors import CacheError, RunError
from maskx_pipeline.evaluation.predictions import predictions_from_cache
from maskx_pipeline.stages.evaluate_teacher import evaluate_teacher
from maskx_pipeline.study.compare import compare_runs
from maskx_pipeline.study.compared_run import ComparedRun
from maskx_pipeline.study.directions import both_directions
from maskx_pipeline.teachers.grabcut import GrabCut
from maskx_pipeline.teachers.predictions import predictions_by_teacher


def of_grabcut(iterations: int) -> TeacherSettings:
    return replace(DEFAULT_TEACHERS, grabcut=DEFAULT_TEACHERS.grabcut.replace(iterations=iterations, workers=2))


def of_world(
    world: World, out: Path | None, **changes: str
) -> tuple[EvaluateTeacherConfig, TeacherSettings, DataConfig]:
    """The settings of an evaluation on the cached detections."""
    data = world.val.path.parent
    return (
        EvaluateTeacherConfig(cache=world.cache.path, out=out, **changes),
        of_grabcut(1),
        DataConfig(
            train_images=data / "train",
            train_annotations=data / "train.json",
            val_images=data / "val",
            val_annotations=data / "val.json",
        ),
    )


def test_boxes_and_scores_are_those_of_every_other_model_on_the_cache(world: World) -> None:
    """Only the masks differ, and each lies in its box, rounded to pixels."""
    grabcut = GrabCut(iterations=1, context=0, seed=0)
    results, whole = predictions_by_teacher(grabcut, world.val, world.cache, workers=2)
    others = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    assert [r | {"segmentation": 0} for r in results] == [r | {"segmentation": 0} for r in others]
    assert 0 <= whole < len(results)
    for result in results:
        x, y, width, height = coco_mask.toBbox(result["segmentation"])
        left, top, box_width, box_height = result["bbox"]
        assert width > 0
        assert (x, y) >= (left - 1, top - 1)
        assert (x + width, y + height) <= (left + box_width + 1, top + box_height + 1)


def test_an_evaluation_is_recorded_and_compared_like_those_of_models(world: World, tmp_path: Path) -> None:
    """Seen is what was asked for; the run counts as trained on no masks; a second call only measures."""
    names = tmp_path / "seen.txt"
    names.write_text("cat\n")
    config, grabcut, data = of_world(world, tmp_path / "grabcut", seen=f"@{names}")
    evaluation = evaluate_teacher("grabcut", config, data, teachers=grabcut)
    assert [(row.name, row.categories) for row in evaluation.sets] == [("all", 3), ("seen", 1), ("unseen", 2)]
    (row,) = compare_runs([config.out]).runs
    assert (row.run, row.embedding, row.training, row.trained) == ("grabcut", "-", "-", frozenset())
    assert row.known == {2, 5, 9}
    assert row.seen["AP"] == evaluation.to_json()["sets"]["seen"]["mask"]["AP"]
    written = (config.out / "evaluation" / "cache" / "results.json").stat().st_mtime_ns
    assert evaluate_teacher("grabcut", config, data, teachers=grabcut).to_json() == evaluation.to_json()
    assert (config.out / "evaluation" / "cache" / "results.json").stat().st_mtime_ns == written
    record = json.loads((config.out / "run.json").read_text())
    assert record["results"]["detections"] == evaluation.detections


def test_at_given_boxes_every_object_of_val_has_a_mask_that_ends_at_its_box(world: World, tmp_path: Path) -> None:
    """As a perfect detector would find it, so that AP of boxes is 100; no cache is needed, and no detector."""
    config, _, data = of_world(world, None, boxes="given")
    config = config.replace(cache=tmp_path / "missing.h5")
    evaluation = evaluate_teacher(f"{own_teacher.__file__}:Everything", config, data, runs=tmp_path / "runs")
    out = tmp_path / "runs" / "transfer" / "Everything-given-boxes"
    results = json.loads((out / "evaluation" / "given-boxes" / "results.json").read_text())
    objects_of_val = [a for a in world.val.annotations() if not a.iscrowd]
    assert len(results) == evaluation.detections == len(objects_of_val)
    for result, annotation in zip(results, objects_of_val, strict=True):
        assert result["image_id"] == annotation.image_id
        x1, y1, x2, y2 = annotation.box_xyxy
        assert coco_mask.toBbox(result["segmentation"]).tolist() == [x1, y1, x2 - x1, y2 - y1]
    assert evaluation.sets[0].box.ap == pytest.approx(100)
    assert json.loads((out / "run.json").read_text())["stage"] == "evaluate-teacher"


def test_a_mask_may_leave_a_detected_box(world: World) -> None:
    """A detector's box may be too small."""
    results, whole = predictions_by_teacher(own_teacher.Everything(), world.val, world.cache, workers=1)
    assert whole == 0
    sizes = {image.id: image.width * image.height for image in world.val.images}
    assert all(coco_mask.area(result["segmentation"]) == sizes[result["image_id"]] for result in results)


def test_other_settings_need_another_folder_or_overwrite(world: World, tmp_path: Path) -> None:
    """Masks of other settings are not measured under this run's name."""
    config, grabcut, data = of_world(world, tmp_path / "grabcut")
    evaluate_teacher("grabcut", config, data, teachers=grabcut)
    with pytest.raises(RunError, match="iterations"):
        evaluate_teacher("grabcut", config, data, teachers=of_grabcut(2))


def test_a_cache_of_other_validation_data_is_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    """Its detections are of other images."""
    config, grabcut, data = of_world(world, tmp_path / "grabcut")
    other = write_data(tmp_path, "val", objects(2))
    data = data.replace(val_images=other.image_dir, val_annotations=other.path)
    with pytest.raises(CacheError, match="other validation annotations"):
        evaluate_teacher("grabcut", config, data, teachers=grabcut)
    assert not config.out.exists()


def test_beside_both_directions_of_a_split_it_stands_in_both() -> None:
    """With its AP on each set of categories, whichever of them was asked for as seen."""
    known = frozenset({1, 2})
    figures = {"AP": 9.0, "AP50": 9.0}
    forth, back = (
        ComparedRun(
            run=f"t@{split}", embedding="cls", form="published", split=split,
            unseen=figures, seen=figures, trained=frozenset({seen}), known=known,
        )
        for split, seen in (("a", 1), ("b", 2))
    )  # fmt: skip
    grabcut = ComparedRun(
        run="grabcut", embedding="-", form="-", split="-", unseen=figures, seen=figures,
        training="-", known=known, per_category={1: {"AP": 10.0}, 2: {"AP": 20.0}},
    )  # fmt: skip
    table = both_directions([forth, back, grabcut])
    assert table is not None
    assert [row.method for row in table.rows] == ["t", "grabcut"]
    assert table.numbers(table.rows[1]) == [20.0, 10.0, 10.0, 20.0]
