"""The weight transfer function T: class embeddings in, weights of the mask predictor out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.errors import ConfigError

# Std of the shared weights: the class-agnostic predictor's N(0, .001), so that both start alike.
_SHARED_STD = 0.001


class Similarities(nn.Module):
    """How much a category is like each of some others: a Gaussian of the distance of their class embeddings.

    The Gaussian's standard deviation is half of the median distance between two of the others. A category that is like
    none of them has similarities near zero, so that T, of which these are the input, does not extrapolate.

    Args:
        centres (FloatTensor[S, D]): Class embeddings of the others.
        std: The std of all similarities among the others together.
        labels (int64 [S]): The label of each of the others; by default none is known.
        hide_own: In training, for this share of RoIs, the similarity of a category to itself is read as zero. T then
            has to say the weights from the other categories, as it has to for an unseen one.

    Raises:
        ConfigError: Most of the others do not differ, or there is one alone.
    """

    centres: Tensor
    labels: Tensor
    exponent: Tensor
    gain: Tensor

    def __init__(self, centres: Tensor, *, std: float, labels: Tensor | None = None, hide_own: float = 0.0) -> None:
        super().__init__()
        centres = centres.detach().clone()
        self.hide_own = hide_own
        if len(centres) == 1:
            raise ConfigError(
                "Only one category is seen, so T cannot learn how categories differ.",
                "give --embedding none for the class-agnostic model, or masks of more categories",
            )
        squared = torch.pdist(centres.double().cpu()).square()
        if not len(squared) or squared.median() == 0:
            raise ConfigError(
                f"The class embeddings of the {len(centres)} seen categories do not differ, so none is like another.",
                "give --kernel linear, or --embedding none for the class-agnostic baseline",
            )
        exponent = -2 / squared.median()
        self.register_buffer("centres", centres)
        self.register_buffer("labels", torch.zeros(len(centres), dtype=torch.int64) if labels is None else labels)
        self.register_buffer("exponent", exponent.to(centres))
        self.register_buffer("gain", torch.ones_like(self.exponent))
        self.gain.mul_(std / self.forward(centres).std(correction=0))

    def forward(self, class_embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """Of class embeddings FloatTensor[K, D] to each centre: FloatTensor[K, S].

        In training some of the categories' own are hidden if ``labels``, int64 [K], says which categories these are;
        which ones follows from torch's random generator of the CPU.
        """
        # By subtraction: by a product of matrices, which may be the default, a row would depend on how many there are.
        distances = torch.cdist(class_embeddings, self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        similarities = self.gain * torch.exp(self.exponent * distances.square())
        if not self.training or self.hide_own == 0 or labels is None:
            return similarities
        hidden = (torch.rand(len(labels)) < self.hide_own).to(labels.device, non_blocking=True)
        own = labels.unsqueeze(1) == self.labels
        return similarities.masked_fill(own & hidden.unsqueeze(1), 0.0)


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
        similarities: Of the class embeddings to those of the seen categories, which the first layer then reads instead.

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
        similarities: Similarities | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ConfigError(f"T needs at least one layer, not {layers}.")
        self.similarities = similarities
        widths = [in_dim if similarities is None else len(similarities.centres)] + [out_dim] * layers
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

    def forward(self, class_embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict mask-head weights from class embeddings (section 3.1, eq. 1).

        Args:
            class_embeddings (FloatTensor[K, D]): One row per category; D = 5120 for cls+box.
            labels (int64 [K]): Whose rows these are, where some similarities are to be hidden in training.

        Returns:
            FloatTensor[K, C]: 1x1 kernels of the mask predictor, C = 256 mask-feature channels, no bias.
        """
        if self.similarities is not None:
            class_embeddings = self.similarities(class_embeddings, labels)
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
