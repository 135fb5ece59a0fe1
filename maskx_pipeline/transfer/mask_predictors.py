"""Mask predictors: mask features to mask logits, for the asked label alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.engine.device import autocast
from maskx_pipeline.transfer.embedding.class_embedding import ClassEmbedding
from maskx_pipeline.transfer.weight_transfer import WeightTransfer


class AgnosticPredictor(nn.Module):
    """The class-agnostic baseline: one 1x1 convolution with bias for all categories (section 3.3).

    Args:
        in_channels: C of the mask features.
    """

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, kernel_size=1)
        nn.init.normal_(self.conv.weight, std=0.001)  # the authors' N(0, .001)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def mask_weights(self) -> Tensor:
        """FloatTensor[1, C]: the one kernel of all categories."""
        return self.conv.weight.flatten(1)

    def forward(self, mask_features: Tensor, labels: Tensor) -> Tensor:
        """Compute mask logits [N, M, M] from mask features [N, C, M, M]; ``labels`` are not read."""
        logits: Tensor = self.conv(mask_features)
        return logits.squeeze(1)


class ClassSpecificPredictor(nn.Module):
    """The fully supervised oracle: a learned kernel with bias per category, as in Mask R-CNN.

    Kernels start as N(0, 2 / fan_out), biases at 0: the authors' MSRAFill, whose fan_out is K here.

    Args:
        in_channels: C of the mask features.
        num_classes: K.
    """

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_classes, in_channels).normal_(std=(2 / num_classes) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def mask_weights(self) -> Tensor:
        """FloatTensor[K, C]: the kernel of every category."""
        return self.weight

    def forward(self, mask_features: Tensor, labels: Tensor) -> Tensor:
        """Compute mask logits [N, M, M] from mask features [N, C, M, M] with the kernel of each RoI's label, 1..K."""
        rows = labels - 1
        return predict_with(mask_features, self.weight[rows]) + self.bias[rows].view(-1, 1, 1)


class TransferPredictor(nn.Module):
    """Kernels from the transfer function: w_seg = T(class embedding), no bias (section 3.1)."""

    def __init__(self, *, transfer: WeightTransfer, embedding: ClassEmbedding) -> None:
        super().__init__()
        self.transfer = transfer
        self.embedding = embedding

    def mask_weights(self) -> Tensor:
        """FloatTensor[K, C]: w_seg of every category."""
        return self._transfer(self.embedding.rows)

    def forward(self, mask_features: Tensor, labels: Tensor, class_embeddings: Tensor | None = None) -> Tensor:
        """Compute mask logits [N, M, M] from mask features [N, C, M, M] with the kernel of each RoI's label, 1..K.

        In joint training T reads ``class_embeddings`` [K, D], those of this step, in place of the rows that are kept.
        """
        rows = self.embedding.rows if class_embeddings is None else class_embeddings
        return predict_with(mask_features, self._transfer(rows[labels - 1], labels))

    def _transfer(self, class_embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        # T costs little beside the head and raw class weights are small, so it keeps float32 under mixed precision.
        with autocast(class_embeddings.device, None):
            weights: Tensor = self.transfer(class_embeddings, labels)
        return weights


def predict_with(mask_features: Tensor, weights: Tensor) -> Tensor:
    """Apply to each RoI its own 1x1 kernel.

    The cost is N x C x M x M however many categories there are: no [N, K, M, M] tensor is made.

    Args:
        mask_features (FloatTensor[N, C, M, M]): Of the mask head.
        weights (FloatTensor[N, C]): The kernel of each RoI's label.

    Returns:
        FloatTensor[N, M, M]: Mask logits.
    """
    count, channels, height, width = mask_features.shape
    # In channels_last memory, which the head computes in, this view costs nothing.
    pixels = mask_features.permute(0, 2, 3, 1).reshape(count, height * width, channels)
    return torch.bmm(pixels, weights.unsqueeze(2)).view(count, height, width)
