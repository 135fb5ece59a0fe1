"""Anchors are matched with objects piece by piece as torchvision does it at once."""

from __future__ import annotations

import pytest
import torch
from tiny_detector import tiny_config
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from maskx_pipeline.detection import matching
from maskx_pipeline.detection.matching import Pairs, PiecewiseMatcher
from maskx_pipeline.detection.model import build_detector, detector_arguments


def _boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 80
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * 30], dim=1)


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize("at_once", [1, 7, 40, 1000])
def test_pieces_give_what_the_whole_matrix_gives(allow: bool, at_once: int, monkeypatch: pytest.MonkeyPatch):
    """Also for objects that no anchor overlaps much, whose nearest anchor is theirs."""
    objects, anchors = _boxes(41, 0), _boxes(300, 1)
    monkeypatch.setattr(matching, "_PAIRS", at_once * len(anchors))
    whole = Matcher(0.7, 0.3, allow_low_quality_matches=allow)(box_iou(objects, anchors))
    found = PiecewiseMatcher(0.7, 0.3, allow_low_quality_matches=allow)(Pairs(objects, anchors))
    assert torch.equal(found, whole)
    assert {-2, -1} <= set(whole.tolist())


def test_no_matrix_of_all_pairs_is_made(monkeypatch: pytest.MonkeyPatch):
    """The largest has as many pairs as are allowed at a time."""
    sizes = []
    monkeypatch.setattr(matching, "_PAIRS", 1000)
    monkeypatch.setattr(matching, "box_iou", lambda a, b: sizes.append(len(a) * len(b)) or box_iou(a, b))
    PiecewiseMatcher(0.7, 0.3)(Pairs(_boxes(50, 0), _boxes(90, 1)))
    assert len(sizes) == 5
    assert max(sizes) <= 1000


def test_the_detector_matches_so():
    """Torchvision calls the similarity and then the matcher."""
    rpn = build_detector(num_classes=3, **detector_arguments(tiny_config())).rpn
    assert isinstance(rpn.proposal_matcher, PiecewiseMatcher)
    assert rpn.box_similarity is Pairs
