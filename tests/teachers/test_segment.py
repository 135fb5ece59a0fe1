"""What is made of a teacher's answer, and what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
from own_teacher import Everything, LeftHalves, Nothing, OneTooFew, Turned
from pycocotools import mask as coco_mask

from maskx_pipeline.errors import DataError
from maskx_pipeline.teachers.segment import BoxMask, segment_boxes

PIXELS = np.zeros((20, 30, 3), dtype=np.uint8)
BOXES = [(4.0, 2.0, 14.0, 12.0), (10.4, 5.6, 29.0, 19.0)]


def decoded(mask: BoxMask) -> np.ndarray:
    return coco_mask.decode(mask.segmentation).astype(bool)


def test_a_mask_leaves_a_detected_box_and_ends_at_a_given_one() -> None:
    """A person drew the latter around the object; the former may be too small."""
    whole = segment_boxes(Everything(), PIXELS, BOXES, cut=False)
    assert all(decoded(mask).all() and mask.found for mask in whole)
    first, second = (decoded(mask) for mask in segment_boxes(Everything(), PIXELS, BOXES, cut=True))
    assert first.sum() == first[2:12, 4:14].sum() == 100
    assert second.sum() == second[6:19, 10:29].sum() == 13 * 19


def test_each_mask_belongs_to_the_box_at_its_place() -> None:
    """Given one after the other."""
    first, second = (decoded(mask) for mask in segment_boxes(LeftHalves(), PIXELS, BOXES, cut=False))
    assert first.sum() == first[2:12, 4:9].sum() == 50
    assert second[:, :10].sum() == second[:, 20:].sum() == 0


@pytest.mark.parametrize("cut", [True, False])
def test_where_nothing_is_found_the_mask_is_the_whole_box(cut: bool) -> None:
    """At least a pixel, and it is said."""
    masks = segment_boxes(Nothing(), PIXELS, [*BOXES, (29.9, 19.9, 30.0, 20.0)], cut=cut)
    assert [decoded(mask).sum() for mask in masks] == [100, 13 * 19, 1]
    assert not any(mask.found for mask in masks)


def test_no_boxes_are_no_question() -> None:
    """The teacher is not asked."""
    assert segment_boxes(OneTooFew(), PIXELS, [], cut=True) == []


def test_another_number_of_masks_or_another_size_is_an_error() -> None:
    """Masks would belong to other boxes, or to another image."""
    with pytest.raises(DataError, match="gave 1 masks for 2 boxes"):
        segment_boxes(OneTooFew(), PIXELS, BOXES, cut=True)
    with pytest.raises(DataError, match=r"shape \(30, 20\) for an image of \(20, 30\)"):
        segment_boxes(Turned(), PIXELS, BOXES, cut=True)
