"""AP is what pycocotools gives when run by hand, and what it cannot judge counts neither way."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_world import CATEGORIES, objects, rectangle, write_data
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.coco_ap import IouType, Result, average_precision, precision_table
from maskx_pipeline.evaluation.evaluate import write_results

COCO_MINI = Path(__file__).parents[2].parent / "shared" / "coco-mini"
EVERY = (1, 2, 3)


def jittered(data: CocoData, *, seed: int = 0, shift: float = 0.15) -> list[Result]:
    """Results made from the ground truth: moved, some of a wrong category, some missing, some twice."""
    generator = np.random.default_rng(seed)
    results = []
    for annotation in data.annotations():
        image = data.image(annotation.image_id)
        for _ in range(generator.integers(0, 3)):
            x1, y1, x2, y2 = annotation.box_xyxy
            dx, dy = generator.normal(0, shift, 2) * (x2 - x1, y2 - y1)
            wrong = generator.random() < 0.1
            label = int(generator.integers(1, data.num_classes + 1)) if wrong else annotation.label
            entry: Result = {
                "image_id": image.id,
                "category_id": data.category(label).id,
                "score": float(generator.random()),
                "bbox": [x1 + dx, y1 + dy, x2 - x1, y2 - y1],
            }
            if annotation.has_mask:
                bitmap = coco_mask.decode(segmentation_to_rle(annotation.segmentation, image.height, image.width))
                moved = np.roll(bitmap, (round(dy / 3), round(dx / 3)), axis=(0, 1))
                rle = coco_mask.encode(np.asfortranarray(moved))
            else:
                rle = coco_mask.frPyObjects([entry["bbox"]], image.height, image.width)[0]
            entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
            results.append(entry)
    return results


def by_hand(ground_truth: Path, results: Path, iou_type: str, category_ids: list[int] | None = None) -> list[float]:
    """AP, AP50, AP75, APS, APM, APL as a user of pycocotools measures them."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(ground_truth))
        evaluation = COCOeval(coco, coco.loadRes(str(results)), iou_type)
        if category_ids is not None:
            evaluation.params.catIds = category_ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float("nan") if value == -1 else value * 100 for value in evaluation.stats[[*range(6), 8]]]


@pytest.fixture(params=["generated", "coco-mini"])
def val_data(request: pytest.FixtureRequest, tmp_path: Path) -> CocoData:
    """Generated data, and real COCO data where they are at hand."""
    if request.param == "generated":
        return write_data(tmp_path, "val", objects(12), images=12)
    if not COCO_MINI.is_dir():
        pytest.skip(f"no real COCO data at {COCO_MINI}")
    return read_coco(COCO_MINI / "annotations" / "instances_val2017.json", COCO_MINI / "val2017", check_files=False)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_ap_equals_pycocotools_run_by_hand(val_data: CocoData, tmp_path: Path, iou_type: IouType) -> None:
    """Six figures and the average recall, on the whole file and on a set, from the results files that are written."""
    results = jittered(val_data)
    write_results(tmp_path / "results.json", results)
    file = tmp_path / ("results.json" if iou_type == "segm" else "results_bbox.json")
    every = range(1, val_data.num_classes + 1)
    table = precision_table(val_data, results, labels=every, iou_type=iou_type)
    summary = table.summary(every)
    figures = (*summary.figures(), summary.ar)
    assert figures == pytest.approx(by_hand(val_data.path, file, iou_type), abs=0, rel=0, nan_ok=True)
    assert 10 < figures[0] < 90
    some = every[1::3]
    ids = [val_data.category(label).id for label in some]
    by_hand_on_set = by_hand(val_data.path, file, iou_type, ids)
    summary = table.summary(some)
    assert (*summary.figures(), summary.ar) == pytest.approx(by_hand_on_set, abs=0, rel=0, nan_ok=True)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_a_set_from_the_table_equals_an_evaluation_of_that_set(tmp_path: Path, iou_type: IouType) -> None:
    """One evaluation serves every category set."""
    val = write_data(tmp_path, "val", objects(3))
    results = jittered(val)
    table = precision_table(val, results, labels=EVERY, iou_type=iou_type)
    for labels in ((1,), (2, 3), EVERY):
        alone = average_precision(val, results, labels=labels, iou_type=iou_type)
        assert alone.figures() == pytest.approx(table.summary(labels).figures(), abs=0, nan_ok=True)
        assert list(alone.per_category) == list(labels)


def test_annotation_0_is_found_like_any_other(tmp_path: Path) -> None:
    """pycocotools marks a match with the id of the object, so that a match with id 0 counts as none."""
    entry = {"image_id": 1, "category_id": CATEGORIES[0]["id"], "bbox": [1, 1, 9, 9]}
    val = write_data(tmp_path, "val", [{**entry, "id": 0}])
    results = [{**entry, "score": 1.0}]
    assert average_precision(val, results, labels=[1], iou_type="bbox").ap == pytest.approx(100)
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert by_hand(val.path, tmp_path / "results.json", "bbox")[0] == 0


def test_nothing_is_printed_and_results_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pycocotools prints, and writes into what it is given."""
    val = write_data(tmp_path, "val", objects(3))
    results = jittered(val)
    before = json.dumps(results)
    average_precision(val, results, labels=EVERY, iou_type="segm")
    assert json.dumps(results) == before
    assert capsys.readouterr().out == ""


def perfect(data: CocoData) -> list[Result]:
    """The ground truth itself, masked objects with their masks and the others with their boxes as masks."""
    results = []
    for annotation in data.annotations():
        image = data.image(annotation.image_id)
        x1, y1, x2, y2 = annotation.box_xyxy
        shape = annotation.segmentation if annotation.has_mask else rectangle(x1, y1, x2 - x1, y2 - y1)
        results.append(
            {
                "image_id": image.id,
                "category_id": data.category(annotation.label).id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": segmentation_to_rle(shape, image.height, image.width),
                "score": 0.9,
            }
        )
    return results


def test_no_detections_are_an_ap_of_zero(tmp_path: Path) -> None:
    """An empty list is a result, not an error."""
    val = write_data(tmp_path, "val", objects(3))
    for iou_type in ("bbox", "segm"):
        summary = average_precision(val, [], labels=EVERY, iou_type=iou_type)
        assert (summary.ap, summary.ap50, summary.unmeasured) == (0, 0, ())


def test_a_detection_in_an_image_without_annotations_is_false(tmp_path: Path) -> None:
    """Such images are part of the data set."""
    val = write_data(tmp_path, "val", objects(3), images=4)
    results = perfect(val)
    assert average_precision(val, results, labels=EVERY, iou_type="segm").ap == pytest.approx(100)
    false = {**results[0], "image_id": 4, "score": 1.0}
    assert average_precision(val, [false, *results], labels=EVERY, iou_type="segm").ap < 95


def test_a_set_without_ground_truth_has_no_ap(tmp_path: Path) -> None:
    """Not zero: there is nothing to find."""
    val = write_data(tmp_path, "val", [entry for entry in objects(3) if entry["category_id"] != 9])
    alone = average_precision(val, perfect(val), labels=[3], iou_type="segm")
    assert all(map(math.isnan, alone.figures()))
    assert alone.unmeasured == (3,)
    every = average_precision(val, perfect(val), labels=EVERY, iou_type="segm")
    assert (every.ap, every.unmeasured) == (pytest.approx(100), (3,))
    assert all(map(math.isnan, average_precision(val, perfect(val), labels=[], iou_type="bbox").figures()))


@pytest.mark.parametrize("absent", [None, [], [[]]])
def test_objects_of_val_without_a_mask_count_neither_way(tmp_path: Path, absent: Any) -> None:
    """A detection on one is neither true nor false, and missing one costs nothing; boxes are measured as always."""
    entries = objects(3)
    entries[0]["segmentation"] = absent  # a cat; there is another one
    for entry in entries:
        if entry["category_id"] == 9:
            entry["segmentation"] = absent
    val = write_data(tmp_path, "val", entries)
    results = perfect(val)
    for chosen in (results, results[1:]):
        summary = average_precision(val, chosen, labels=EVERY, iou_type="segm")
        assert summary.per_category[1] == pytest.approx(100)
        assert summary.unmeasured == (3,)
        assert summary.ap == pytest.approx(100)
    boxes = average_precision(val, results, labels=EVERY, iou_type="bbox")
    assert (boxes.ap, boxes.unmeasured) == (pytest.approx(100), ())


def test_an_annotation_with_id_zero_is_found(tmp_path: Path) -> None:
    """pycocotools alone takes a match with it for no match."""
    val = write_data(tmp_path, "val", [{**entry, "id": number} for number, entry in enumerate(objects(3))])
    assert average_precision(val, perfect(val), labels=EVERY, iou_type="bbox").ap == pytest.approx(100)


def test_boxes_are_those_of_the_file_even_outside_the_image(tmp_path: Path) -> None:
    """Reading clips them for training; COCO's evaluation does not."""
    box = [40.0, 10.0, 60.0, 30.0]
    val = write_data(tmp_path, "val", [{"image_id": 1, "category_id": CATEGORIES[0]["id"], "bbox": box}])
    result = {"image_id": 1, "category_id": CATEGORIES[0]["id"], "bbox": box, "score": 1.0}
    assert average_precision(val, [result], labels=[1], iou_type="bbox").ap == pytest.approx(100)


def test_only_the_asked_images_are_measured(tmp_path: Path) -> None:
    """A part of val is measured while a model is fitted."""
    val = write_data(tmp_path, "val", objects(3))
    results = perfect(val)[:2]  # those of image 1
    part = precision_table(val, results, labels=EVERY, iou_type="bbox", image_ids=[1]).summary(EVERY)
    assert part.ap == pytest.approx(100)
    assert average_precision(val, results, labels=EVERY, iou_type="bbox").ap < 60


def test_results_of_an_unknown_image_are_refused(tmp_path: Path) -> None:
    """They belong to another data set."""
    val = write_data(tmp_path, "val", objects(3))
    with pytest.raises(DataError, match="image 77"):
        average_precision(val, [{**perfect(val)[0], "image_id": 77}], labels=EVERY, iou_type="bbox")
