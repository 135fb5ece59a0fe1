"""Mask IoU on the ground-truth boxes of val."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.transfer.mask_iou import mask_iou

WriteCache = Callable[..., Path]


class _Answers(nn.Module):
    """Answers with the true masks of the toy cache, the channel of the label being positive, or with a constant."""

    def __init__(self, constant: float | None = None) -> None:
        super().__init__()
        self.constant = constant
        self.asked: list[int] = []

    def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        self.asked += labels.tolist()
        chosen = roi_features.float()[torch.arange(len(labels)), labels - 1]
        logits = chosen.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        return logits if self.constant is None else torch.full_like(logits, self.constant)


@pytest.fixture
def cache(write_cache: WriteCache) -> Iterator[RoICache]:
    with RoICache(write_cache()) as opened:
        yield opened


def _iou(model: nn.Module, cache: RoICache, labels: set[int], max_rois: int | None = None) -> float:
    return mask_iou(model, cache, labels=labels, device=torch.device("cpu"), amp_dtype=None, max_rois=max_rois)  # type: ignore[arg-type]


def test_true_masks_have_an_iou_of_one(cache: RoICache) -> None:
    """Perfect masks give exactly 1, empty ones 0."""
    assert _iou(_Answers(), cache, {1, 2}) == 1.0
    assert _iou(_Answers(constant=-1.0), cache, {1, 2}) == 0.0


def test_a_full_mask_has_the_iou_of_its_area(cache: RoICache) -> None:
    """Everything predicted: the IoU of each object is the part of its box that it fills; the mean is over objects."""
    rows = np.flatnonzero(np.isin(cache.ground_truth.labels, [2, 5]))
    expected = cache.read_targets(rows, "ground_truth").mean(axis=(1, 2)).mean()
    assert _iou(_Answers(constant=1.0), cache, {2, 5}) == pytest.approx(expected)


def test_only_objects_of_the_asked_categories_are_measured(cache: RoICache) -> None:
    """The model sees no RoI of another category, and at most max_rois of these."""
    model = _Answers()
    _iou(model, cache, {4})
    assert model.asked == [4] * 8
    model.asked.clear()
    _iou(model, cache, {1, 6}, max_rois=4)
    assert model.asked == [1, 1, 6, 6]


def test_nothing_to_measure_is_nan(cache: RoICache) -> None:
    """Without categories there is no IoU, which is not an IoU of 0."""
    assert math.isnan(_iou(_Answers(), cache, set()))


def test_objects_without_a_mask_are_not_measured(cache: RoICache) -> None:
    """Their target is all zeros in the file, which is not a mask to be compared with."""
    cache.ground_truth.has_mask[cache.ground_truth.labels == 2] = 0
    model = _Answers()
    _iou(model, cache, {1, 2})
    assert set(model.asked) == {1}
    assert math.isnan(_iou(model, cache, {2}))


def test_an_empty_mask_of_an_empty_target_is_right(cache: RoICache, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object thinner than a cell has an empty target; predicting nothing there is an IoU of 1, not of 0 / 0."""
    monkeypatch.setattr(cache, "read_targets", lambda rows, group: np.zeros((len(rows), 8, 8), np.uint8))
    assert _iou(_Answers(constant=-1.0), cache, {1}) == 1.0


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_the_mode_of_the_model(cache: RoICache, training: bool) -> None:
    """A model that was training goes on training."""
    model = _Answers().train(training)
    _iou(model, cache, {1})
    assert model.training == training
