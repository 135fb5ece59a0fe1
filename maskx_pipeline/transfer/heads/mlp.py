"""The class-agnostic MLP on the mask features."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

_WIDTH = 1024


class MLPMaskBranch(nn.Module):
    """The class-agnostic MLP (section 3.4): fully connected layers on the mask features, a logit for each cell.

    The paper puts it beside the FCN; the authors' code puts it after the deconvolution, with one layer (157 M weights
    at 256 x 28 x 28), and so does this. Weights start as N(0, .001), biases at 0, as in their code.

    Args:
        in_channels: C of the mask features.
        mask_size: M.
        layers: Linear layers; hidden ones are 1024 wide, with ReLU.
    """

    def __init__(self, *, in_channels: int, mask_size: int, layers: int) -> None:
        super().__init__()
        widths = [in_channels * mask_size**2] + [_WIDTH] * (layers - 1) + [mask_size**2]
        linears: list[nn.Linear] = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
        for layer in linears:
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(linears)

    def forward(self, mask_features: Tensor) -> Tensor:
        """Compute mask logits [N, M, M] from mask features [N, C, M, M], for whatever label."""
        count, _, height, width = mask_features.shape
        values = mask_features.flatten(1)
        for number, layer in enumerate(self.layers):
            values = layer(F.relu(values) if number else values)
        return values.view(count, height, width)
