"""A word where AP leaves detections out."""

from __future__ import annotations

from pycocotools.cocoeval import Params

from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS, limit_note


def _results(*counts: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"image_id": image, "category_id": label} for image, label, count in counts for _ in range(count)]


def test_the_limit_is_told_where_it_cuts():
    """By image and category: 100 of two categories in one image are all counted, 103 of one are not."""
    assert limit_note(_results((1, 1, 100), (1, 2, 100), (2, 1, 5))) is None
    note = limit_note(_results((1, 1, 103), (2, 1, 102), (2, 2, 30)))
    assert "in 2 images 5 more were left out" in str(note)


def test_the_limit_is_that_of_pycocotools():
    """AP is its number to the last digit, so it counts what it counts."""
    assert Params("bbox").maxDets[-1] == MOST_DETECTIONS
