"""The mask model of stage 2: RoI features and labels in, mask logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.heads import MaskHead
from maskx_pipeline.transfer.heads.mlp import MLPMaskBranch
from maskx_pipeline.transfer.mask_predictors import AgnosticPredictor, ClassSpecificPredictor, TransferPredictor

MaskPredictor = AgnosticPredictor | ClassSpecificPredictor | TransferPredictor


class MaskModel(nn.Module):
    """A mask head, which is the same for every category, and on it a predictor, an MLP branch, or the sum of both.

    Args:
        head: [N, C, S, S] to mask features [N, C', M, M].
        predictor: Mask features and labels to mask logits [N, M, M]; may depend on the label.
        mlp: Mask features to mask logits [N, M, M], whatever the label.
    """

    def __init__(self, *, head: MaskHead, predictor: MaskPredictor | None, mlp: MLPMaskBranch | None = None) -> None:
        super().__init__()
        if predictor is None and mlp is None:
            raise ConfigError("A mask model needs a predictor or an MLP branch.")
        self.head = head
        self.predictor = predictor
        self.mlp = mlp
        self.to(memory_format=torch.channels_last)  # as fast as NCHW or faster on CPUs and GPUs, most so in bf16

    def mask_weights(self) -> Tensor:
        """The 1x1 kernels w_seg: FloatTensor[K, C'], a row per category; [1, C'] if class-agnostic; [0, C'] if none."""
        if self.predictor is None:
            return next(self.parameters()).new_zeros(0, self.head.out_channels)
        return self.predictor.mask_weights()

    def forward(self, roi_features: Tensor, labels: Tensor, class_embeddings: Tensor | None = None) -> Tensor:
        """Predict the mask of each RoI for its label, and for no other.

        Args:
            roi_features (FloatTensor or HalfTensor[N, C, S, S]): Pooled features of the frozen detector.
            labels (int64 [N]): The label of each RoI, 1..K.
            class_embeddings (FloatTensor[K, D]): For T to read in place of its own, in joint training.

        Returns:
            FloatTensor[N, M, M]: Mask logits, M as the head says; in the autocast dtype where autocast is on.
        """
        dtype = next(self.parameters()).dtype
        mask_features = self.head(roi_features.to(dtype=dtype, memory_format=torch.channels_last))
        live = () if class_embeddings is None else (class_embeddings,)
        logits: list[Tensor] = [] if self.predictor is None else [self.predictor(mask_features, labels, *live)]
        if self.mlp is not None:
            logits.append(self.mlp(mask_features))
        return logits[0] if len(logits) == 1 else logits[0] + logits[1]  # added before the sigmoid (section 3.4)
