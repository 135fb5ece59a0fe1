"""The moving average of weights, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskx_pipeline.engine.average import WeightAverage


def test_the_first_steps_are_forgotten_soon_and_counters_are_those_of_the_last_step() -> None:
    """From 1 to 12 in one step with decay 2/11 is 10; to 22 with 3/12 is 19; then 0.2 is smaller than 4/13."""
    module = nn.BatchNorm1d(1)
    nn.init.constant_(module.weight, 1.0)
    average, found = WeightAverage(module, decay=0.2), []
    for step, value in enumerate((12.0, 22.0, 29.0), start=1):
        nn.init.constant_(module.weight, value)
        module.running_mean.fill_(value)
        module.num_batches_tracked.fill_(step)
        average.update()
        with average.in_place():
            found.append((module.weight.item(), module.running_mean.item(), module.num_batches_tracked.item()))
        assert (module.weight.item(), module.num_batches_tracked.item()) == (value, step)
    by_hand = [12 + 2 / 11 * (1 - 12)]
    by_hand.append(22 + 0.2 * (by_hand[0] - 22))
    by_hand.append(29 + 0.2 * (by_hand[1] - 29))
    assert by_hand[0] == pytest.approx(10)
    assert [weight for weight, _, _ in found] == pytest.approx(by_hand)
    assert found[0][1] == pytest.approx(12 - 2 / 11 * 12)
    assert [count for _, _, count in found] == [1, 2, 3]


def test_one_that_goes_on_is_the_one_that_never_stopped() -> None:
    """To the bit."""
    module = nn.Linear(3, 2)
    first, second = (WeightAverage(module, decay=0.9) for _ in range(2))
    for step in range(6):
        nn.init.normal_(module.weight)
        first.update()
        if step == 2:
            second.load_state_dict(first.state_dict())
        elif step > 2:
            second.update()
    with first.in_place():
        one = module.weight.detach().clone()
    with second.in_place():
        assert torch.equal(module.weight, one)
