"""The precision of one category is pycocotools' own, number by number."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskx_pipeline.evaluation.matching import Found, Objects, precision_and_recall

SIDE = 300


def by_pycocotools(
    objects: list[dict[str, Any]], results: list[dict[str, Any]], iou_type: str, most: int = 100
) -> tuple[NDArray[Any], NDArray[Any]]:
    """All numbers of the one category: precision and recall."""
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number, "height": SIDE, "width": SIDE} for number in range(1, 9)],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [dict(entry) for entry in objects],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([dict(entry) for entry in results]), iou_type)
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, :, -1], evaluation.eval["recall"][:, 0, :, -1]


def random_world(seed: int, iou_type: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Crowds, equal scores, equal and nested shapes, images with objects alone, detections alone, or far too many."""
    generator = np.random.default_rng(seed)

    def entry(image_id: int, box: list[float]) -> dict[str, Any]:
        if iou_type == "bbox":
            return {"image_id": image_id, "category_id": 1, "bbox": box}
        rle = coco_mask.frPyObjects(np.array([box]), SIDE, SIDE)[0]
        return {"image_id": image_id, "category_id": 1, "segmentation": rle}

    def boxes(count: int) -> list[list[float]]:
        # whole numbers from a coarse grid, so that IoUs are often equal
        corner = generator.integers(0, 3, (count, 2)) * 8
        sides = generator.choice([8, 16, 32, 40, 96, 200], (count, 2))
        return np.concatenate([corner, sides], axis=1).astype(float).tolist()

    objects, results = [], []
    for image_id in (8, 3, 1, 5, 2):
        for box in boxes(int(generator.integers(0, 12))):
            area = box[2] * box[3] * float(generator.choice([1, 0.5]))
            crowd = int(generator.random() < 0.2)
            objects.append({**entry(image_id, box), "id": len(objects) + 1, "area": area, "iscrowd": crowd})
    objects.append({**entry(4, [0.0, 0.0, 8.0, 8.0]), "id": len(objects) + 1, "area": 64.0, "iscrowd": 0})
    for image_id, count in ((5, 130), (1, 40), (6, 20), (2, 100), (3, 9), (8, 25)):
        for box in boxes(count):
            results.append({**entry(image_id, box), "score": float(generator.integers(0, 12)) / 12})
    return objects, [results[row] for row in generator.permutation(len(results))]


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize(("seed", "most"), [*((seed, 100) for seed in range(6)), (0, 3), (1, 500)])
def test_every_number_is_that_of_pycocotools(seed: int, most: int, iou_type: str) -> None:
    """Not nearly: the same bits, whatever is ignored, tied or too many."""
    entries, results = random_world(seed, iou_type)
    key = "bbox" if iou_type == "bbox" else "segmentation"
    expected, recall = by_pycocotools(entries, results, iou_type, most)
    objects = Objects(
        image_ids=np.array([entry["image_id"] for entry in entries]),
        shapes=[entry[key] for entry in entries],
        areas=np.array([entry["area"] for entry in entries]),
        crowds=np.array([entry["iscrowd"] for entry in entries], dtype=np.bool_),
    )
    found = Found(
        image_ids=np.array([result["image_id"] for result in results]),
        shapes=[result[key] for result in results],
        scores=np.array([result["score"] for result in results]),
    )
    assert len(results) > 255  # more masks than pycocotools measures at once
    ours = precision_and_recall(objects, found, most=most)
    assert np.array_equal(ours[0], expected)
    assert np.array_equal(ours[1], recall)
    assert 0 < expected[..., 0].mean() < 1
