"""Annotations with something wrong: what is said of each, and what is used of it."""

from __future__ import annotations

import pytest

from maskx_pipeline.data.records import CocoData

WIDTH = 20
SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]


def _kinds(data: CocoData) -> list[tuple[str, int | None]]:
    return [(problem.kind, problem.annotation_id) for problem in data.problems]


@pytest.mark.parametrize(
    ("annotation", "kind", "kept"),
    [
        ({"bbox": [5, 5, 0, 5]}, "zero-area box", False),
        ({"bbox": [5, 5, -3, 5]}, "zero-area box", False),
        ({"bbox": [5, 5, 1e-9, 5]}, "zero-area box", False),
        ({"bbox": [WIDTH, 2, 5, 5]}, "box outside the image", False),
        ({"bbox": [-9, -9, 5, 5]}, "box outside the image", False),
        ({"bbox": [10, 10, 500, 5]}, "box partly outside the image", True),
        ({"bbox": [1, 2, 3]}, "broken box", False),
        ({"bbox": [1, 2, float("nan"), 3]}, "broken box", False),
        ({"bbox": [1, 2, "3", 3]}, "broken box", False),
        ({"bbox": [1, 2, 10**400, 3]}, "broken box", False),
        ({"category_id": 4}, "unknown category id", False),
        ({"image_id": 99}, "unknown image id", False),
        ({"id": 1}, "duplicate annotation id", False),
        ({"segmentation": [[1, 2, 3]]}, "broken segmentation", True),
        ({"segmentation": {"size": [1, 1], "counts": [0, 1]}}, "broken segmentation", True),
    ],
)
def test_a_problem_is_named_by_its_annotation_and_the_rest_is_used(make_data, annotation, kind, kept):
    """No single bad annotation stops the reading; a box that can be kept is kept."""
    data = make_data([{"segmentation": SQUARE}, annotation, {"segmentation": SQUARE}])
    number = annotation.get("id", 2)
    assert _kinds(data) == [(kind, number)]
    assert str(number) in data.problems[0].message
    assert [a.id for a in data.annotations()] == ([1, 2, 3] if kept else [1, 3])
    assert data.annotations()[0].has_mask


def test_a_box_partly_outside_is_clipped_and_one_of_a_rounding_error_without_a_word(make_data):
    """All boxes end inside the image; COCO's roundings are no problem to report."""
    data = make_data([{"bbox": [-5, 3, 50, 5]}, {"bbox": [-0.4, 3, WIDTH + 0.9, 5]}])
    assert [a.box_xyxy for a in data.annotations()] == [(0, 3, WIDTH, 8), (0, 3, WIDTH, 8)]
    assert _kinds(data) == [("box partly outside the image", 1)]
    assert data.problems[0].action == "clipped"


def test_of_a_duplicate_annotation_id_the_first_is_kept(make_data):
    """Ids name masks in the cache, so they must be unique."""
    data = make_data([{"id": 5, "bbox": [1, 1, 2, 2]}, {"id": 5, "bbox": [3, 3, 2, 2]}])
    assert [a.box_xyxy for a in data.annotations()] == [(1, 1, 3, 3)]
