"""Mask IoU at given boxes: what is measured, the intervals, the rivals, and the sentence on who is ahead."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_world import CPU, World
from pycocotools import mask as coco_mask

from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import DataError
from maskx_pipeline.evaluation.box_figures import figures_of_sets
from maskx_pipeline.evaluation.box_iou import MODEL, SHAPES, BoxIou
from maskx_pipeline.evaluation.box_iou_file import newest_box_iou, read_box_iou, write_box_iou
from maskx_pipeline.evaluation.box_masks import (
    masks_from_cache,
    masks_from_file,
    measure_box_iou,
    predictions_and_masks_from_images,
    shapes_in_boxes,
)
from maskx_pipeline.evaluation.predictions import predictions_from_images

SQUARE = {"bbox": [4, 2, 8, 8], "segmentation": [[4, 2, 12, 2, 12, 10, 4, 10]]}
LEFT_HALF = [[4, 2, 8, 2, 8, 10, 4, 10]]


def rle(polygons: list[list[float]]) -> dict[str, Any]:
    return dict(coco_mask.merge(coco_mask.frPyObjects(polygons, 16, 20)))


def of(ious: dict[str, list[float]], images: list[int], labels: list[int] | None = None) -> BoxIou:
    count = len(images)
    return BoxIou(
        np.arange(count),
        np.array(images),
        np.array(labels or [1] * count),
        {name: np.array(values, dtype=np.float64) for name, values in ious.items()},
    )


def test_shapes_are_the_pixels_of_the_box_whose_centres_lie_in_them(make_data: Callable[..., CocoData]) -> None:
    """Worked out pixel by pixel; a part outside of the image is left out."""
    val = make_data([SQUARE, {"bbox": [15, 11, 9, 9]}])
    box, ellipse = (coco_mask.decode(shapes_in_boxes(val)[name][1]) for name in SHAPES)
    expected = np.zeros((16, 20), dtype=np.uint8)
    for y in range(2, 10):
        for x in range(4, 12):
            expected[y, x] = ((x + 0.5 - 8) / 4) ** 2 + ((y + 0.5 - 6) / 4) ** 2 <= 1
    np.testing.assert_array_equal(ellipse, expected)
    assert box.sum() == 64
    assert box[2:10, 4:12].all()
    assert coco_mask.decode(shapes_in_boxes(val)["the filled box"][2]).sum() == 5 * 5


def test_iou_is_that_of_pycocotools_on_objects_that_have_a_mask(make_data: Callable[..., CocoData]) -> None:
    """Crowds and objects without a mask are left out, and an object without a mask by a source in that source alone."""
    val = make_data([SQUARE, {**SQUARE, "iscrowd": 1, "segmentation": rle_of_file()}, {"bbox": [2, 2, 6, 6]}, SQUARE])
    found = measure_box_iou(
        val, {MODEL: {1: rle(LEFT_HALF), 4: rle(LEFT_HALF)}, "other": {1: rle([[4, 2, 12, 2, 12, 10, 4, 10]])}}
    )
    assert found.annotation_ids.tolist() == [1, 4]
    assert found.ious[MODEL].tolist() == [0.5, 0.5]
    assert found.ious["other"][0] == 1.0
    assert math.isnan(found.ious["other"][1])
    assert found.difference("other", MODEL, np.array([True, True])).mean == 50.0


def rle_of_file() -> dict[str, Any]:
    return {"size": [16, 20], "counts": [0, 320]}


def test_the_interval_is_that_of_resampled_images() -> None:
    """Against a bootstrap in a plain loop, which gives about the same; objects of one image go together."""
    generator = np.random.default_rng(3)
    images = np.sort(generator.integers(0, 60, 300))
    values = 0.4 + 0.3 * generator.random(60)[images] + 0.1 * generator.random(300)
    found = of({MODEL: values.tolist()}, images.tolist()).mean(MODEL, np.ones(300, dtype=bool))
    assert found.mean == pytest.approx(100 * values.mean())
    means = []
    for _ in range(2000):
        drawn = generator.choice(np.unique(images), len(np.unique(images)))
        means.append(100 * np.concatenate([values[images == image] for image in drawn]).mean())
    assert found.low == pytest.approx(np.percentile(means, 2.5), abs=0.5)
    assert found.high == pytest.approx(np.percentile(means, 97.5), abs=0.5)
    by_object = [100 * generator.choice(values, 300).mean() for _ in range(2000)]
    assert found.high - found.low > 1.5 * (np.percentile(by_object, 97.5) - np.percentile(by_object, 2.5))


def test_a_difference_is_taken_object_by_object() -> None:
    """Two sources that vary much and alike differ certainly, though their own intervals overlap."""
    generator = np.random.default_rng(0)
    values = generator.random(80)
    found = of({MODEL: (0.9 * values).tolist(), "other": values.tolist()}, list(range(80)))
    everything = np.ones(80, dtype=bool)
    first, second = (found.mean(name, everything) for name in found.ious)
    assert first.high > second.low
    gap = found.difference(MODEL, "other", everything)
    assert gap.is_certain
    assert gap.mean == pytest.approx(first.mean - second.mean)


def test_one_image_has_no_interval_and_nothing_measured_is_nan() -> None:
    """Neither is an error."""
    found = of({MODEL: [0.5, 0.7]}, [3, 3])
    one = found.mean(MODEL, np.array([True, True]))
    assert one.mean == pytest.approx(60)
    assert math.isnan(one.low)
    assert not one.is_certain
    assert math.isnan(found.mean(MODEL, np.array([False, False])).mean)
    assert found.mean(MODEL, np.array([False, False])).to_json() == {"mean": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("model", "ellipse", "sentence"),
    [
        (0.8, 0.6, "this model is ahead of the ellipse in the box by more than chance, 80.0 to 60.0 IoU (+20.0 to "),
        (0.5, 0.6, "the ellipse in the box is AHEAD of this model by more than chance, 60.0 to 50.0 IoU (+10.0 to "),
    ],
)  # fmt: skip
def test_the_sentence_says_who_is_ahead(
    make_data: Callable[..., CocoData], model: float, ellipse: float, sentence: str
) -> None:
    """Of the rivals the best counts."""
    val = make_data([SQUARE])
    found = of({MODEL: [model] * 4, "the filled box": [0.1] * 4, "the ellipse in the box": [ellipse] * 4}, [1, 2, 3, 4])
    figures = figures_of_sets(found, split="all", labels={1, 2}, seen={2}, categories=val.categories)
    seen, unseen = figures.verdicts()
    assert seen == "Seen categories: val has no mask of one, so how good their masks are is not known."
    assert unseen.startswith(f"Unseen categories: {sentence}")
    text = figures.to_text(per_category=True)
    assert "the ellipse in the box" in text
    assert json.loads(json.dumps(figures.to_json(), allow_nan=False))["sets"]["unseen"]["objects"] == 4


def test_a_difference_within_chance_is_called_level(make_data: Callable[..., CocoData]) -> None:
    """However large the means differ."""
    val = make_data([SQUARE])
    found = of({MODEL: [0.2, 0.9, 0.4], "the filled box": [0.9, 0.2, 0.3]}, [1, 2, 3])
    figures = figures_of_sets(found, split="all", labels={1, 2}, seen={1}, categories=val.categories)
    assert "this model and the filled box are level within chance, 50.0 and 46.7 IoU" in figures.verdicts()[0]


def test_cache_and_images_give_the_same_masks(world: World) -> None:
    """Of every object, bit for bit, and there are some; beside them stand the detections of before."""
    cached = masks_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    results, live = predictions_and_masks_from_images(world.model, world.val)
    assert cached == live
    assert results == predictions_from_images(world.model, world.val)
    assert sorted(cached) == sorted(annotation.id for annotation in world.val.annotations())
    assert any(coco_mask.area(mask) for mask in cached.values())


def test_masks_of_a_file_find_their_objects(make_data: Callable[..., CocoData], tmp_path: Path) -> None:
    """By annotation id in an annotation file; else by image, category and box, each object once."""
    far = {"bbox": [13, 3, 6, 10], "segmentation": [[13, 3, 19, 3, 19, 13, 13, 13]]}
    val = make_data([SQUARE, {**SQUARE, "category_id": 7}, far])
    results = [
        {"image_id": 1, "category_id": 3, "bbox": [4, 2, 8, 7], "segmentation": rle_text(LEFT_HALF), "score": 1},
        {"image_id": 1, "category_id": 3, "bbox": [4, 2, 8, 8], "segmentation": rle_text(SQUARE["segmentation"])},
        {"image_id": 1, "category_id": 7, "bbox": [12, 3, 6, 10], "segmentation": rle_text(far["segmentation"])},
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    found = masks_from_file(path, val)
    assert {id_: int(coco_mask.area(mask)) for id_, mask in found.items()} == {1: 64}
    entries = [
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "segmentation": LEFT_HALF},
        {"id": 2, "image_id": 1, "category_id": 3, "bbox": [4, 2, 8, 8], "segmentation": SQUARE["segmentation"]},
        {"id": 9, "image_id": 8, "category_id": 3, "bbox": [4, 2, 8, 8], "segmentation": SQUARE["segmentation"]},
    ]
    path.write_text(json.dumps({"annotations": entries}))
    assert {id_: int(coco_mask.area(mask)) for id_, mask in masks_from_file(path, val).items()} == {3: 32, 1: 64}


def rle_text(polygons: Any) -> dict[str, Any]:
    found = rle(polygons)
    return {"size": found["size"], "counts": found["counts"].decode()}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "cannot be read"),
        ("3", "neither a list"),
        ("[3]", "neither a list"),
        ('[{"image_id": 1, "category_id": 3, "segmentation": [[1]]}]', "No mask of"),
        ('[{"image_id": "x", "category_id": 3, "segmentation": [[4, 2, 8, 2, 8, 8]]}]', "No mask of"),
        ('[{"image_id": [1], "category_id": 3, "segmentation": [[4, 2, 8, 2, 8, 8]]}]', "No mask of"),
        ('[{"image_id": 1, "category_id": 3, "bbox": "a", "segmentation": [[4, 2, 8, 2, 8, 8]]}]', "No mask of"),
    ],
)
def test_a_file_without_such_masks_is_an_error_that_names_it(
    make_data: Callable[..., CocoData], tmp_path: Path, content: str, reason: str
) -> None:
    """Broken, of another kind, or of other data."""
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(DataError, match=reason) as error:
        masks_from_file(path, make_data([SQUARE]))
    assert str(path) in error.value.message


def test_what_was_measured_is_kept_and_read_for_the_same_data_and_masks_alone(tmp_path: Path) -> None:
    """A broken file is measured again and not an error."""
    found = of({MODEL: [0.5, math.nan], "other": [0.25, 1.0]}, [1, 2])
    folder = tmp_path / "evaluation" / "cache-best"
    folder.mkdir(parents=True)
    write_box_iou(folder, found, val_digest="val", identity="weights")
    again = read_box_iou(folder, val_digest="val", identity="weights")
    assert again is not None
    np.testing.assert_array_equal(again.ious[MODEL], found.ious[MODEL])
    assert again.image_ids.tolist() == [1, 2]
    assert read_box_iou(folder, val_digest="other", identity="weights") is None
    assert read_box_iou(folder, val_digest="val", identity="others") is None
    assert newest_box_iou(tmp_path, val_digest="val") is not None
    (folder / "box-iou.json").write_text('{"val": "val", "identity": "weights", "ious": 3}')
    assert read_box_iou(folder) is None
    assert newest_box_iou(tmp_path, val_digest="val") is None
