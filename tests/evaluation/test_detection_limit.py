"""A word where AP leaves detections out."""

from __future__ import annotations

from pycocotools.cocoeval import Params

from maskx_pipeline.config import EvaluateConfig
from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS, limit_notes


def _results(*counts: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"image_id": image, "category_id": label} for image, label, count in counts for _ in range(count)]


def test_the_limit_is_told_where_it_cuts():
    """By image and category: 100 of two categories in one image are all counted, 103 of one are not."""
    assert limit_notes(_results((1, 1, 100), (1, 2, 100), (2, 1, 5)), {1: 200, 2: 5}) == []
    (note,) = limit_notes(_results((1, 1, 103), (2, 1, 102), (2, 2, 30)), {1: 100})
    assert "in 2 images 5 more were left out" in note
    assert "100 best detections of an image and category, as COCO's:" in note
    (note,) = limit_notes(_results((1, 1, 103), (2, 1, 102)), {}, most=102)
    assert "in 1 images 1 more were left out" in note
    assert "102 best detections of an image and category:" in note


def test_objects_that_the_detector_cannot_give_are_told():
    """299 objects in an image, of a detector that gives at most 100."""
    (note,) = limit_notes(_results((1, 1, 60), (1, 2, 40), (2, 1, 3)), {1: 299, 2: 100, 3: 101})
    assert "In 2 images val has more objects (up to 299)" in note
    assert "(100): the objects beyond count as missed. --detections-per-image" in note
    assert limit_notes([], {1: 299}) == []  # nothing was found at all, which the table says


def test_the_limit_is_that_of_pycocotools():
    """AP is its number to the last digit, so it counts what it counts."""
    assert Params("bbox").maxDets[-1] == MOST_DETECTIONS == EvaluateConfig().max_detections
