"""Cached detections and images give the same results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_world import CATEGORIES, CPU, TINY, World, objects, write_data
from pycocotools import mask as coco_mask

from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.errors import CacheError
from maskx_pipeline.evaluation.detector_ap import box_ap
from maskx_pipeline.evaluation.evaluate import evaluate_results
from maskx_pipeline.evaluation.predictions import predictions_from_cache, predictions_from_images, rows_by_image


def test_cached_detections_give_the_results_of_the_images(world: World) -> None:
    """Boxes, scores, masks, and so AP, to the last digit (rule 3)."""
    cached = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    live = predictions_from_images(world.model, world.val)
    assert cached == live
    assert len(cached) == len(world.cache.detections) > 4
    assert any(coco_mask.area(result["segmentation"]) > 0 for result in cached)
    first, second = (evaluate_results(r, world.val, split="all", labels=[1, 2, 3], seen=[1]) for r in (cached, live))
    assert first.to_json() == second.to_json()


def test_results_come_by_image_in_the_order_of_val(world: World) -> None:
    """Image 4, which has no objects, is predicted too; a part of the images can be asked for."""
    results = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    assert list(dict.fromkeys(result["image_id"] for result in results)) == [1, 2, 3, 4]
    part = predictions_from_cache(
        world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None, image_ids=[2, 4]
    )
    assert part == [result for result in results if result["image_id"] in (2, 4)]


def test_category_ids_are_those_of_the_data_set(world: World) -> None:
    """Labels stay inside the program."""
    results = predictions_from_cache(world.cache, world.mask_model, world.val, device=CPU, amp_dtype=None)
    assert {result["category_id"] for result in results} <= {category["id"] for category in CATEGORIES}
    labels = world.cache.detections.labels
    assert [result["category_id"] for result in results] == [CATEGORIES[label - 1]["id"] for label in labels]


def test_a_cache_of_other_validation_data_is_refused(world: World, tmp_path: Path) -> None:
    """Its detections are of other images."""
    other = write_data(tmp_path, "val", objects(2))
    with pytest.raises(CacheError, match="other validation annotations"):
        predictions_from_cache(world.cache, world.mask_model, other, device=CPU, amp_dtype=None)


def test_rows_are_grouped_by_image_in_the_order_of_the_cache() -> None:
    """Also where the rows of an image do not lie together, as another writer may do it."""
    rows = rows_by_image(np.array([7, 3, 7, 3, 9]))
    assert {image: list(numbers) for image, numbers in rows.items()} == {3: [1, 3], 7: [0, 2], 9: [4]}
    mixed = np.random.default_rng(0).integers(0, 5, 2000)
    assert all((np.diff(numbers) > 0).all() for numbers in rows_by_image(mixed).values())
    assert rows_by_image(np.array([], dtype=np.int64)) == {}


def test_measuring_box_ap_leaves_the_training_as_it_was(world: World) -> None:
    """Modes of every module and gradients of every parameter."""
    config = replace(TINY, score_threshold=0.99)
    detector = build_detector(num_classes=4, **detector_arguments(config)).train()
    detector.backbone.body.layer1.eval()
    detector.backbone.body.conv1.weight.requires_grad_(False)
    modes = [module.training for module in detector.modules()]
    gradients = [parameter.requires_grad for parameter in detector.parameters()]
    weights = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    measured = box_ap(detector, world.val, device=CPU, amp_dtype=None)
    assert measured == {"box_ap": 0.0, "box_ap50": 0.0}
    assert [module.training for module in detector.modules()] == modes
    assert [parameter.requires_grad for parameter in detector.parameters()] == gradients
    assert all(torch.equal(weights[name], tensor) for name, tensor in detector.state_dict().items())
