"""Which RoIs of a training image are stored."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from cache_fakes import annotation

from maskx_pipeline.cache.rois import ObjectRoIs, box_iou, choose_rois, flip_annotation
from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.records import Annotation
from maskx_pipeline.errors import ConfigError

LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)


def choose(annotations: list[Annotation], proposals: Any, **changes: Any) -> list[ObjectRoIs]:
    masked = [annotation.has_mask for annotation in annotations]
    settings = {
        "chosen": masked, "rois_per_object": 4, "proposal_iou": 0.5, "box_jitter": 0.0, "seed": 0, "flipped": False,
        "image_size": (100, 200), **changes,
    }  # fmt: skip
    return choose_rois(annotations, np.array(proposals, dtype=np.float32).reshape(-1, 4), **settings)


def jitter(box: tuple[float, ...], count: int, seed: int = 0) -> list[list[float]]:
    return (np.array(box) + np.random.default_rng(seed).uniform(-1, 1, (count, 4))).tolist()


def test_the_ground_truth_box_comes_first() -> None:
    """An object without proposals still has its own box."""
    (only,) = choose([annotation(1, 1, LEFT)], [])
    np.testing.assert_array_equal(only.boxes_xyxy, [LEFT])
    np.testing.assert_array_equal(only.ious, [1])


def test_an_image_without_objects_has_no_rois() -> None:
    """Nor has one with a crowd only."""
    assert choose([], [LEFT]) == []
    assert choose([annotation(1, 1, LEFT, crowd=True)], [LEFT]) == []


def test_objects_without_masks_are_not_stored_but_keep_their_proposals() -> None:
    """A proposal on an unmasked object is not given to a masked one that it overlaps less."""
    near = (2.0, 0.0, 12.0, 10.0)
    annotations = [annotation(1, 1, LEFT), annotation(2, 1, near, masked=False)]
    (stored,) = choose(annotations, [(1.9, 0.0, 12.0, 10.0), (0.1, 0.0, 10.0, 10.0)])
    np.testing.assert_allclose(stored.boxes_xyxy, [LEFT, (0.1, 0, 10, 10)], atol=1e-6)
    assert len(choose(annotations[:1], [(1.9, 0.0, 12.0, 10.0)])[0].boxes_xyxy) == 2


def test_crowds_take_no_part_in_the_matching() -> None:
    """A crowd neither is stored nor takes proposals."""
    (stored,) = choose([annotation(1, 1, LEFT, crowd=True), annotation(2, 1, LEFT)], [(0.0, 0.0, 10.0, 9.0)])
    assert stored.annotation.id == 2
    assert len(stored.boxes_xyxy) == 2


def test_of_equal_boxes_the_first_gets_the_proposals() -> None:
    """Each of two objects in the same place has its own box, once."""
    first, second = choose([annotation(1, 1, LEFT), annotation(2, 1, LEFT)], [(0.0, 0.0, 10.0, 9.0)])
    assert (len(first.boxes_xyxy), len(second.boxes_xyxy)) == (2, 1)


def test_proposals_below_the_iou_are_left_out() -> None:
    """With 0 as the limit, a proposal must still touch its object."""
    proposals = [(0.0, 0.0, 10.0, 5.0), (0.0, 0.0, 10.0, 4.9), (50.0, 50.0, 60.0, 60.0)]
    assert len(choose([annotation(1, 1, LEFT)], proposals)[0].boxes_xyxy) == 2
    assert len(choose([annotation(1, 1, LEFT)], proposals, proposal_iou=0.0)[0].boxes_xyxy) == 3


def test_ious_are_those_of_the_boxes() -> None:
    """What is stored can be checked."""
    (stored,) = choose([annotation(1, 1, LEFT)], jitter(LEFT, 20))
    np.testing.assert_allclose(stored.ious, box_iou(stored.boxes_xyxy, np.array([LEFT]))[:, 0], rtol=1e-6)


def test_more_proposals_than_wanted_are_chosen_at_random() -> None:
    """The same seed chooses the same; another seed, or the mirrored image, chooses others."""
    proposals = jitter(LEFT, 50)
    chosen = [
        choose([annotation(1, 1, LEFT)], proposals, **changes)[0].boxes_xyxy.tolist()
        for changes in ({}, {}, {"seed": 1}, {"flipped": True})
    ]
    assert all(len(boxes) == 5 for boxes in chosen)
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]
    assert chosen[0] != chosen[3]


def test_another_objects_mask_never_changes_the_choice() -> None:
    """Not its pixels, and not whether it exists."""
    proposals = jitter(LEFT, 20) + jitter(RIGHT, 20, seed=1)
    left, right = annotation(1, 1, LEFT), annotation(2, 1, RIGHT)
    expected = choose([left, right], proposals)[1].boxes_xyxy
    for segmentation in (None, [[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]]):
        corrupted = dataclasses.replace(left, segmentation=segmentation)
        np.testing.assert_array_equal(choose([corrupted, right], proposals)[-1].boxes_xyxy, expected)


def test_degenerate_proposals_are_harmless() -> None:
    """A box without area has IoU 0 with everything, without a warning."""
    assert box_iou(np.array([[3, 3, 3, 3], [5, 5, 4, 4]]), np.array([[3, 3, 3, 3]])).tolist() == [[0], [0]]


def test_negative_annotation_ids_are_accepted() -> None:
    """Some tools count downwards."""
    assert len(choose([annotation(-5, 1, LEFT)], jitter(LEFT, 20))[0].boxes_xyxy) == 5


def test_mirroring_twice_changes_nothing() -> None:
    """Box and mask are mirrored together."""
    original = annotation(1, 1, (2.0, 3.0, 12.0, 9.0))
    mirrored = flip_annotation(original, 40)
    assert mirrored.box_xyxy == (28.0, 3.0, 38.0, 9.0)
    assert mirrored.segmentation == [[38.0, 3.0, 28.0, 3.0, 38.0, 9.0]]
    assert flip_annotation(mirrored, 40) == original


WIDE = (40.0, 30.0, 120.0, 50.0)  # 80 x 20 pixels, far from the edges of the image


def moved(box: tuple[float, float, float, float] = WIDE, *, number: int = 1, **changes: Any) -> Any:
    """The second RoI of an object, in float64."""
    (stored,) = choose([annotation(number, 1, box)], [], **{"box_jitter": 0.1, **changes})
    assert len(stored.boxes_xyxy) == 2
    np.testing.assert_array_equal(stored.boxes_xyxy[0], np.float32(box))
    return stored.boxes_xyxy[1].astype(np.float64)


def test_a_moved_box_has_each_side_moved_by_up_to_the_share_of_its_axis() -> None:
    """Over many objects the sides move by their own, in both directions, up to the share and no further."""
    shifts = np.array([moved(number=number) for number in range(400)]) - WIDE
    parts = shifts / (0.1 * np.array([80, 20, 80, 20]))
    assert (np.abs(parts) <= 1 + 1e-5).all()
    assert (parts.min(axis=0) < -0.97).all()
    assert (parts.max(axis=0) > 0.97).all()
    assert (np.abs(parts.mean(axis=0)) < 0.1).all()
    assert np.abs(np.corrcoef(parts.T) - np.eye(4)).max() < 0.15


def test_a_moved_box_follows_from_seed_and_id_alone() -> None:
    """Not from where the object is, what else is there, how many proposals it has, or the side it is seen from."""
    expected = moved() - WIDE
    np.testing.assert_allclose(
        moved((0.0, 0.0, 80.0, 20.0), image_size=(900, 900))[2:] - [80, 20], expected[2:], atol=1e-5
    )
    np.testing.assert_allclose(moved(flipped=True) - WIDE, expected, atol=1e-5)
    np.testing.assert_allclose(moved(box_jitter=0.2) - WIDE, 2 * expected, atol=1e-4)
    others = [annotation(7, 1, (60.0, 30.0, 90.0, 60.0)), annotation(1, 1, WIDE)]
    among = choose(others, jitter(WIDE, 20), box_jitter=0.1)[1]
    np.testing.assert_array_equal(among.boxes_xyxy[1], np.float32(moved()))
    assert np.abs(moved(number=2) - moved()).min() > 1e-3
    assert np.abs(moved(seed=1) - moved()).min() > 1e-3


def test_moving_a_box_takes_no_proposal_away_and_its_iou_is_its_own() -> None:
    """It stands between the object's box and the proposals, which are those of an export without it."""
    proposals = jitter(LEFT, 50)
    (without,), (stored,) = (choose([annotation(1, 1, LEFT)], proposals, box_jitter=share) for share in (0.0, 0.3))
    np.testing.assert_array_equal(np.delete(stored.boxes_xyxy, 1, axis=0), without.boxes_xyxy)
    np.testing.assert_array_equal(np.delete(stored.ious, 1), without.ious)
    x1, y1, x2, y2 = stored.boxes_xyxy[1].tolist()
    both = (min(x2, 10) - x1) * (min(y2, 10) - y1)  # x1 and y1 are cut at 0, where the object's box begins
    assert stored.ious[1] == pytest.approx(both / ((x2 - x1) * (y2 - y1) + 100 - both), abs=1e-6)


def test_a_moved_box_is_cut_at_the_edge_of_the_image() -> None:
    """As proposals are; an object that fills the image gets a part of it at most."""
    boxes = np.array([moved((0.0, 0.0, 200.0, 100.0), number=number) for number in range(50)])
    assert boxes.min() == 0
    np.testing.assert_array_equal(boxes.max(axis=0)[2:], [200, 100])


def test_a_share_that_could_turn_a_box_round_is_refused() -> None:
    """Two sides that move by half of the box meet; by more they would change places."""
    assert ExportConfig.from_mapping({"box-jitter": 0.5}, source="here").box_jitter == 0.5
    with pytest.raises(ConfigError, match=r"box-jitter: 0\.6 is too large\.\n.*at most 0\.5"):
        ExportConfig.from_mapping({"box-jitter": 0.6}, source="here")
