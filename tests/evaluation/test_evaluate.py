"""What an evaluation reports and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_world import CPU, World, objects, rectangle, write_data

from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.errors import RunError
from maskx_pipeline.evaluation.coco_ap import Result, average_precision
from maskx_pipeline.evaluation.evaluate import evaluate_results, read_results, write_results
from maskx_pipeline.evaluation.figures import Evaluation
from maskx_pipeline.evaluation.predictions import predictions_from_cache
from maskx_pipeline.evaluation.quick import quick_metrics, some_images

TABLE = """\
runs/transfer/cls: 3 images, 2 detections, from cached detections

                 ----------------- box -----------------     ----------------- mask ----------------
set     categ.    AP  AP50  AP75   APS   APM   APL    AR      AP  AP50  AP75   APS   APM   APL    AR
voc          2 100.0 100.0 100.0 100.0     -     - 100.0   100.0 100.0 100.0 100.0     -     - 100.0
seen         1 100.0 100.0 100.0 100.0     -     - 100.0   100.0 100.0 100.0 100.0     -     - 100.0
unseen       2   0.0   0.0   0.0   0.0     -     -   0.0       -     -     -     -     -     -     -

Not in val, so not counted: dog.

category          objects   masks  box AP mask AP
cat       seen          2       2   100.0   100.0
dog       unseen        0       0       -       -"""


def an_evaluation(folder: Path, *, split: str = "voc", labels: tuple[int, ...] = (1, 2)) -> Evaluation:
    """Two cats found perfectly; a kite without a mask is missed; there is no dog."""
    boxes = {1: [5, 5, 20, 20], 2: [10, 10, 20, 15]}
    cats = [
        {"image_id": image_id, "category_id": 2, "bbox": box, "segmentation": rectangle(*box)}
        for image_id, box in boxes.items()
    ]
    val = write_data(folder, "val", [*cats, {"image_id": 3, "category_id": 9, "bbox": [1, 1, 9, 9]}])
    results: list[Result] = [
        {
            "image_id": cat["image_id"],
            "category_id": 2,
            "score": 0.5,
            "bbox": cat["bbox"],
            "segmentation": segmentation_to_rle(cat["segmentation"], val.image(cat["image_id"]).height, 64),
        }
        for cat in cats
    ]
    return evaluate_results(results, val, split=split, labels=labels, seen=[1], model="runs/transfer/cls")


def test_the_table_shows_sets_down_and_figures_across(tmp_path: Path) -> None:
    """A dash where there is nothing to measure, and a line that says why."""
    assert an_evaluation(tmp_path).to_text(per_category=True) == TABLE


def test_categories_are_listed_only_when_asked(tmp_path: Path) -> None:
    """80 lines are too many to print unasked."""
    text = an_evaluation(tmp_path).to_text()
    assert TABLE.startswith(text)
    assert "objects" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_categories_that_cannot_be_measured_are_named(tmp_path: Path) -> None:
    """Why a figure counts fewer categories than the set has."""
    text = an_evaluation(tmp_path, labels=(1, 2, 3)).to_text()
    assert "Not in val, so not counted: dog.\nWithout a mask in val, so not counted in mask AP: kite." in text


def test_json_is_strict_and_holds_every_figure(tmp_path: Path) -> None:
    """NaN is not JSON; it becomes null."""
    found = json.loads(json.dumps(an_evaluation(tmp_path).to_json(), allow_nan=False))
    assert list(found["sets"]) == ["voc", "seen", "unseen"]
    assert found["sets"]["voc"]["box"]["AP50"] == pytest.approx(100)
    assert found["sets"]["unseen"]["mask"]["AP"] is None
    assert [row["mask_ap"] for row in found["categories"]] == [pytest.approx(100), None]
    cat, dog = (row["mask"] for row in found["categories"])
    assert list(cat) == ["AP", "AP50", "AP75", "APS", "APM", "APL", "AR"]
    assert [cat["APS"], cat["APM"], dog["AP50"]] == [pytest.approx(100), None, None]


def test_asking_for_seen_shows_it_once(tmp_path: Path) -> None:
    """The set asked for may be one of the two beside it."""
    assert [row.name for row in an_evaluation(tmp_path, split="seen").sets] == ["seen", "unseen"]


@pytest.mark.parametrize(
    ("split", "name"), [("voc", "ap-voc.json"), ("@my sets/names.txt", "ap-my_sets_names.txt.json")]
)
def test_the_record_is_named_after_the_set(tmp_path: Path, split: str, name: str) -> None:
    """Evaluations of several sets lie side by side."""
    evaluation = an_evaluation(tmp_path, split=split)
    path = evaluation.write(tmp_path / "evaluation")
    assert path == tmp_path / "evaluation" / name
    assert json.loads(path.read_text())["split"] == split


def test_written_results_are_read_back_unchanged(world: World, tmp_path: Path) -> None:
    """So that another category set costs only the measurement."""
    results = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    path = tmp_path / "results.json"
    write_results(path, results)
    assert read_results(path) == results
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.json", "results_bbox.json"]
    write_results(path, [])
    assert read_results(path) == []


def test_results_files_that_do_not_belong_together_are_refused(world: World, tmp_path: Path) -> None:
    """Also one that is missing."""
    results = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    path = tmp_path / "results.json"
    write_results(path, results)
    boxes = tmp_path / "results_bbox.json"
    boxes.write_text(json.dumps(json.loads(boxes.read_text())[::-1]))
    with pytest.raises(RunError, match="different detections"):
        read_results(path)
    boxes.unlink()
    with pytest.raises(RunError, match="results_bbox"):
        read_results(path)


def test_quick_metrics_on_all_of_val_are_the_evaluation(world: World) -> None:
    """They differ from it only in how many images are taken."""
    world.mask_model.train()
    metrics = quick_metrics(world.mask_model, world.cache, world.val, seen=[1, 2], max_detections=10_000)
    assert world.mask_model.training
    world.mask_model.eval()
    results = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    assert metrics["seen_mask_ap"] == average_precision(world.val, results, labels=[1, 2], iou_type="segm").ap
    assert set(metrics) == {"seen_mask_ap", "unseen_mask_ap", "seen_mask_iou", "unseen_mask_iou"}
    assert 1 < metrics["seen_mask_iou"] < 100  # percent, as AP


def test_quick_metrics_take_whole_images_until_there_are_enough(world: World) -> None:
    """The same ones every time, and at least one."""
    counts = {image.id: int((world.cache.detections.image_ids == image.id).sum()) for image in world.val.images}
    most = sum(counts.values()) // 2
    some = some_images(world.val, world.cache, most)
    assert some == some_images(world.val, world.cache, most)
    assert 0 < sum(counts[image_id] for image_id in some) <= most
    assert len(some_images(world.val, world.cache, 1)) >= 1
    assert len(some_images(world.val, world.cache, 10_000)) == len(world.val.images)


def test_results_of_a_data_set_without_any_object(tmp_path: Path) -> None:
    """Everything is a dash, and nothing fails."""
    val = write_data(tmp_path, "val", [])
    text = evaluate_results([], val, split="all", labels=[1, 2, 3], seen=[]).to_text(per_category=True)
    assert "all" in text
    assert "0.0" not in text
    val = write_data(tmp_path / "b", "val", objects(1), images=1)
    assert evaluate_results([], val, split="all", labels=[1, 2], seen=[1]).sets[0].mask.ap == 0
