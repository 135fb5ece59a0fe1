"""IoU by confidence, and the least confidence for a wanted IoU."""

from __future__ import annotations

import pytest

from maskx_pipeline.annotate.reliability import MaskScore, least_confidence, reliability
from maskx_pipeline.errors import DataError


def scores(*pairs: tuple[float, float], seen: bool = True) -> list[MaskScore]:
    """Masks of (confidence, IoU)."""
    return [MaskScore("a", seen, iou, confidence) for confidence, iou in pairs]


def test_steps_of_a_tenth_hold_their_means() -> None:
    """1 belongs to the last step, and a step without masks is left out."""
    first, last = reliability(scores((0.52, 0.2), (0.58, 0.6), (0.9, 0.8), (1.0, 1.0)))
    assert (first.low, first.high, first.masks) == (0.5, 0.6, 2)
    assert (first.confidence, first.iou) == (pytest.approx(0.55), pytest.approx(0.4))
    assert (last.low, last.high, last.masks, last.iou) == (0.9, 1.0, 2, pytest.approx(0.9))


def test_the_least_confidence_keeps_as_many_masks_as_the_wanted_iou_allows() -> None:
    """0.9, then (0.9 + 0.7) / 2 = 0.8, then 2 / 3, with four masks 0.75: the last one that is good enough counts."""
    found = scores((0.9, 0.9), (0.8, 0.7), (0.7, 0.4), (0.6, 1.0), (0.5, 0.0))
    for wanted, confidence, kept, iou in ((0.85, 0.9, 1, 0.9), (0.8, 0.8, 2, 0.8), (0.75, 0.6, 4, 0.75)):
        least = least_confidence(found, wanted, measured_on="val.json")
        assert (least.min_confidence, least.kept) == (confidence, kept)
        assert least.iou == pytest.approx(iou)


def test_masks_of_one_confidence_are_kept_or_left_together() -> None:
    """A threshold cannot part them, in whatever order they come."""
    for ious in ((1.0, 0.2), (0.2, 1.0)):
        found = scores((0.9, 0.9), *((0.8, iou) for iou in ious))
        assert least_confidence(found, 0.8, measured_on="v").min_confidence == 0.9


def test_a_box_in_which_nothing_is_found_never_counts() -> None:
    """It is not filled in at any threshold."""
    assert least_confidence(scores((0.5, 0.8), (0.0, 0.0)), 0.3, measured_on="v").kept == 1


def test_an_iou_out_of_reach_is_an_error_that_says_the_best() -> None:
    """Not the best of any mask but of any threshold."""
    with pytest.raises(DataError, match=r"the best is 0\.60"):
        least_confidence(scores((0.9, 0.6), (0.1, 0.5)), 0.7, measured_on="v")


def test_what_unseen_categories_have_is_said_beside_it() -> None:
    """Measured, not reached by any, or not measured at all."""
    of_seen = scores(*[(0.9, 0.9)] * 30)
    unseen = scores((0.95, 0.4), (0.2, 0.1), seen=False)
    text = "\n".join(least_confidence([*of_seen, *unseen], 0.87, measured_on="v").to_lines())
    assert "1 of the 2 of unseen categories have it, with a mean IoU of 40.0 percent" in text
    assert "say" not in text
    assert "may be worse" in "\n".join(least_confidence(of_seen, 0.9, measured_on="v").to_lines())
    none = least_confidence([*of_seen, *scores((0.2, 0.1), seen=False)], 0.89, measured_on="v")
    assert none.iou_unseen is None
    assert "none of 1 masks of unseen categories" in "\n".join(none.to_lines())
    few = least_confidence(scores((0.9, 0.9)), 0.8, measured_on="v")
    assert "1 masks alone" in "\n".join(few.to_lines())
