"""What a shape in the box is worth, by category: that of `maskx evaluate`, and of no other category than asked."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_world import World
from pycocotools import mask as coco_mask

from maskx_pipeline.evaluation.box_iou import ELLIPSE, MODEL, SHAPES
from maskx_pipeline.evaluation.box_masks import measure_box_iou, shapes_in_boxes, shapes_in_detections
from maskx_pipeline.study.hidden_figures import shape_figures


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_iou_that_evaluate_gives_it(world: World, shape: str) -> None:
    """Category by category, to the last digit."""
    ious = measure_box_iou(world.val, {MODEL: shapes_in_boxes(world.val)[shape]})
    labels = {1, 2}
    found = shape_figures(shape, world.cache, world.val, labels=labels)
    assert set(found) == labels
    for label in labels:
        assert found[label].iou == ious.mean(MODEL, ious.of_labels(frozenset({label}))).mean > 0


def test_the_mask_of_a_detection_is_the_shape_in_its_own_box(world: World) -> None:
    """Pixel by pixel, for each cached detection of the category asked for."""
    results = shapes_in_detections(ELLIPSE, world.cache, world.val, labels={2})
    wanted = world.cache.detections.labels == 2
    assert len(results) == np.count_nonzero(wanted) > 0
    category = world.val.category(2).id
    for result in results:
        image = world.val.image(result["image_id"])
        x, y, width, height = result["bbox"]
        rows, columns = np.mgrid[: image.height, : image.width] + 0.5
        inside = ((columns - x - width / 2) / (width / 2)) ** 2 + ((rows - y - height / 2) / (height / 2)) ** 2 <= 1
        assert result["category_id"] == category
        np.testing.assert_array_equal(coco_mask.decode(result["segmentation"]), inside)
