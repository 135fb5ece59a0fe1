"""An exponential moving average of the weights (EMA), which is often a better model than the last weights are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of all that is saved of a module: parameters, and buffers such as statistics of batch norm.

    After n steps the decay is the smaller one of ``decay`` and (1 + n) / (10 + n), so that the first weights, which are
    hardly trained, are soon forgotten. What is not a floating-point number is that of the last step.

    Args:
        module: On its device; its tensors are changed in place from here on, never replaced.
        decay: 0..1; the higher, the longer it remembers: 0.9998 some 5,000 steps.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self._module, self._decay, self._steps = module, decay, 0
        self._average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for name, value in self._module.state_dict().items():
            average = self._average[name]
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the averaged weights, and afterwards its own again."""
        own = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self._average)
        try:
            yield
        finally:
            self._module.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` goes on from."""
        return {"steps": self._steps, "average": self._average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where another one was."""
        self._steps = state["steps"]
        average: Mapping[str, Tensor] = state["average"]
        for name, value in self._average.items():
            value.copy_(average[name])
