"""The weight transfer function T: class embeddings in, weights of the mask predictor out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.errors import ConfigError

# Std of the shared weights: the class-agnostic predictor's N(0, .001), so that both start alike.
_SHARED_STD = 0.001


class WeightTransfer(nn.Module):
    """T(w_det; theta), an MLP that is shared by all categories (section 3.1, eq. 1).

    Linear layers start as N(0, 2 / fan_out) with bias 0: the authors' MSRAFill, which takes fan_out. Hidden layers are
    as wide as the output.

    Args:
        in_dim: D of the class embeddings.
        out_dim: C, the channels of the mask features.
        layers: Number of linear layers.
        activation: ``leaky_relu``, ``relu`` or ``none``, after each layer but the last.
        leaky_slope: Negative slope of ``leaky_relu``.
        zero_start: Start the last layer at zero.
        shared: Add learned weights that all categories share; the last layer then has no bias of its own, which would
            be the same parameter twice.

    Raises:
        ConfigError: No layer, or an unknown activation.
    """

    def __init__(
        self,
        *,
        in_dim: int,
        out_dim: int,
        layers: int,
        activation: str,
        leaky_slope: float,
        zero_start: bool,
        shared: bool,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"T needs at least one layer, not {layers}.")
        widths = [in_dim] + [out_dim] * layers
        modules: list[nn.Module] = []
        for number in range(1, layers + 1):
            last = number == layers
            linear = nn.Linear(widths[number - 1], widths[number], bias=not (last and shared))
            nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="relu")
            if last and zero_start:
                nn.init.zeros_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
            modules += [linear] if last else [linear, _activation(activation, leaky_slope)]
        self.layers = nn.Sequential(*modules)
        self.shared_weights: nn.Parameter | None = None
        if shared:
            self.shared_weights = nn.Parameter(torch.empty(out_dim).normal_(std=_SHARED_STD))

    def forward(self, class_embeddings: Tensor) -> Tensor:
        """Predict mask-head weights from class embeddings (section 3.1, eq. 1).

        Args:
            class_embeddings (FloatTensor[K, D]): One row per category; D = 5120 for cls+box.

        Returns:
            FloatTensor[K, C]: 1x1 kernels of the mask predictor, C = 256 mask-feature channels, no bias.
        """
        weights: Tensor = self.layers(class_embeddings)
        return weights if self.shared_weights is None else weights + self.shared_weights


def _activation(name: str, leaky_slope: float) -> nn.Module:
    if name == "leaky_relu":
        return nn.LeakyReLU(leaky_slope)
    if name == "relu":
        return nn.ReLU()
    if name == "none":
        return nn.Identity()
    raise ConfigError(f"`{name}` is not an activation of T.", "one of: leaky_relu, relu, none")
