"""The schedule: learning rates, and what SGD does with each parameter."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_training import CONSTANT, tiny_module
from torch import nn

from maskx_pipeline.engine.loop import seed_step
from maskx_pipeline.engine.schedule import build_optimizer


def test_optimizer_groups_follow_detectron() -> None:
    """Weights decay; biases learn faster and do not; norm layers do not; frozen parameters are absent."""
    module = tiny_module()
    module[4].weight.requires_grad_(False)
    groups = build_optimizer(module, lr=1.0, momentum=0.9, weight_decay=0.5, bias_lr_factor=2.0).param_groups
    ids = [{id(p) for p in group["params"]} for group in groups]
    assert [(g["weight_decay"], g["lr_scale"]) for g in groups] == [(0.5, 1.0), (0.0, 2.0), (0.0, 1.0)]
    assert ids == [
        {id(module[0].weight)},
        {id(module[0].bias), id(module[4].bias)},
        {id(p) for p in module[1].parameters()},
    ]


def test_the_fused_step_is_that_of_plain_sgd_whatever_the_memory_layout() -> None:
    """Weights in channels-last order, as the mask head keeps them, move as they would without fusing."""
    ends = []
    for fused in (True, False):
        seed_step(0, -1)
        module = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(8 * 9, 3)).to(
            memory_format=torch.channels_last
        )
        optimizer = build_optimizer(module, lr=0.1, momentum=0.9, weight_decay=0.01, bias_lr_factor=2.0)
        optimizer.param_groups[0]["fused"] = optimizer.param_groups[1]["fused"] = fused
        for _ in range(4):
            optimizer.zero_grad(set_to_none=True)
            module(torch.randn(5, 6, 5, 5).to(memory_format=torch.channels_last)).square().mean().backward()
            optimizer.step()
        ends.append([parameter.detach().clone() for parameter in module.parameters()])
    for fused_end, plain_end in zip(*ends, strict=True):
        torch.testing.assert_close(fused_end, plain_end, rtol=1e-5, atol=1e-7)


def test_the_learning_rate_warms_up_and_drops() -> None:
    """Linear from the warm-up factor to 1, then a factor at each drop."""

    schedule = dataclasses.replace(
        CONSTANT, iterations=90_000, lr=0.02, warmup_iterations=500, warmup_factor=1 / 3, drops=(60_000, 80_000)
    )

    def factor(step: int) -> float:
        return schedule.lr_at(step) / 0.02

    assert factor(0) == pytest.approx(1 / 3)
    assert factor(250) == pytest.approx(2 / 3)
    assert [factor(500), factor(59_999), factor(60_000)] == pytest.approx([1, 1, 0.1])
    assert factor(80_000) == pytest.approx(0.01)
    assert dataclasses.replace(schedule, warmup_iterations=0).lr_at(0) == 0.02


def test_what_begins_after_the_warm_up_grows_over_a_sixth_of_the_steps() -> None:
    """From 0 to 1, and stays there; a training of one step has no time for it."""
    schedule = dataclasses.replace(CONSTANT, iterations=600, warmup_iterations=60)
    assert [schedule.ramp_at(step) for step in (0, 60, 110, 160, 599)] == [0, 0, 0.5, 1, 1]
    assert dataclasses.replace(schedule, iterations=1, warmup_iterations=0).ramp_at(0) == 0


def test_a_first_step_that_is_skipped_leaves_no_momentum() -> None:
    """As fp16 skips it where gradients overflow; the fused step would else begin with what lay in memory."""
    module = nn.Linear(300, 1, bias=False)
    optimizer = build_optimizer(module, lr=1.0, momentum=0.9, weight_decay=0.0, bias_lr_factor=1.0)
    before = module.weight.detach().clone()
    for gradient, skipped in ((float("inf"), 1.0), (0.0, 0.0)):
        junk = [torch.full((1, 300), 7.0) for _ in range(50)]
        del junk
        module.weight.grad = torch.full_like(module.weight, gradient)
        optimizer.grad_scale, optimizer.found_inf = torch.tensor(1.0), torch.tensor(skipped)  # as GradScaler gives them
        optimizer.step()
    assert torch.equal(module.weight, before)
