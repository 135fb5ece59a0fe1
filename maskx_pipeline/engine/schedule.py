"""How a training goes on: its length, and the learning rate of each step."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from torch.optim import SGD

from maskx_pipeline.config.shared import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """SGD as in Detectron, the same for the detector, stage 2 and joint training.

    Attributes:
        weight_decay: Of all parameters but biases and norm layers.
        bias_lr_factor: The learning rate of biases, relative to that of the others.
        warmup_iterations: Steps of linear warm-up.
        warmup_factor: The learning rate of the first step, relative to the base.
        drops: Steps at which the learning rate is multiplied by ``gamma``.
        clip_grad_norm: Largest norm of the gradient; 0 switches clipping off.
    """

    iterations: int
    lr: float
    momentum: float
    weight_decay: float
    bias_lr_factor: float
    warmup_iterations: int
    warmup_factor: float
    drops: tuple[int, ...]
    gamma: float
    clip_grad_norm: float

    def lr_at(self, step: int) -> float:
        """The learning rate of a step (from 0): linear warm-up, then a factor at each drop."""
        factor = self.gamma ** sum(step >= drop for drop in self.drops)
        if step < self.warmup_iterations:
            factor *= self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup_iterations
        return self.lr * factor

    def ramp_at(self, step: int) -> float:
        """From 0 to 1: what begins after the warm-up, and grows over a sixth of all steps, has this weight."""
        return min(1.0, max(0.0, (step - self.warmup_iterations) / max(1.0, self.iterations / 6)))


def schedule_of(config: Training, *, iterations: int, warmup_iterations: int, drops: tuple[int, ...]) -> Schedule:
    """The schedule that the settings describe, whose length was found in steps."""
    own: dict[str, Any] = {
        "lr": config.learning_rate,
        "iterations": iterations,
        "warmup_iterations": warmup_iterations,
        "drops": drops,
    }
    named = {field.name for field in fields(Schedule)} - own.keys()
    return Schedule(**own, **{name: getattr(config, name) for name in named})


def build_optimizer(
    module: nn.Module, *, lr: float, momentum: float, weight_decay: float, bias_lr_factor: float
) -> SGD:
    """SGD as in Detectron: biases learn ``bias_lr_factor`` times faster and, like norm layers, have no weight decay.

    Parameters that do not require a gradient are left out. Each group carries ``lr_scale``, its learning rate relative
    to ``lr``. The step is the fused one, which reads and writes each number once: with the 157 million weights of the
    MLP branch, memory is what a step waits for.
    """
    norms = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
    norm_ids = {id(p) for m in module.modules() if isinstance(m, norms) for p in m.parameters(recurse=False)}
    weights, biases, norm_parameters = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in norm_ids:
            norm_parameters.append(parameter)
        elif name.rpartition(".")[2] == "bias":
            biases.append(parameter)
        else:
            weights.append(parameter)
    groups = [
        {"params": weights, "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": biases, "weight_decay": 0.0, "lr_scale": bias_lr_factor},
        {"params": norm_parameters, "weight_decay": 0.0, "lr_scale": 1.0},
    ]
    optimizer = SGD([group for group in groups if group["params"]], lr=lr, momentum=momentum, fused=True)
    if momentum > 0:
        # Else the fused step makes it of memory as it lies there, and leaves it so where fp16 skips the first step.
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
