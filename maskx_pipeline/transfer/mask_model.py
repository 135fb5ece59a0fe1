"""The mask model of stage 2: RoI features and labels in, mask logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.config import TransferForm
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embedding.class_embedding import ClassEmbedding
from maskx_pipeline.transfer.heads import MaskHead
from maskx_pipeline.transfer.heads.mlp import MLPMaskBranch
from maskx_pipeline.transfer.mask_predictors import AgnosticPredictor, ClassSpecificPredictor, TransferPredictor
from maskx_pipeline.transfer.weight_transfer import Similarities, WeightTransfer

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


def build_mask_model(
    *,
    head: MaskHead,
    embedding: ClassEmbedding | None,
    form: TransferForm,
    leaky_slope: float,
    similarities: Similarities | None,
    class_specific: bool,
    num_classes: int,
    mask_branch: str,
    mlp_layers: int,
    roi_size: int,
) -> MaskModel:
    """Put what comes after the mask head on it; the caller seeds torch.

    Args:
        head: The mask head, already made, so that one seed starts it alike whatever the predictor is.
        embedding: What T reads; None where there is no T.
        form: The structure of T.
        leaky_slope: Negative slope of T's ``leaky_relu``.
        similarities: For kernel rbf, those that T reads in place of the embedding.
        class_specific: Without T, a learned kernel per category in place of one for all.
        num_classes: K.
        mask_branch: ``fcn``, ``mlp`` or ``fcn+mlp``.
        mlp_layers: Of the MLP branch.
        roi_size: S of the RoI features.
    """
    predictor: MaskPredictor | None = None
    if embedding is not None:
        transfer = WeightTransfer(
            in_dim=embedding.rows.shape[1],
            out_dim=head.out_channels,
            layers=form.layers,
            activation=form.activation,
            leaky_slope=leaky_slope,
            zero_start=form.zero_start,
            shared=form.shared,
            similarities=similarities,
        )
        predictor = TransferPredictor(transfer=transfer, embedding=embedding)
    elif class_specific:
        predictor = ClassSpecificPredictor(in_channels=head.out_channels, num_classes=num_classes)
    elif mask_branch != "mlp":
        predictor = AgnosticPredictor(in_channels=head.out_channels)
    mlp: MLPMaskBranch | None = None
    if mask_branch != "fcn":
        mlp = MLPMaskBranch(in_channels=head.out_channels, mask_size=head.mask_size(roi_size), layers=mlp_layers)
    return MaskModel(head=head, predictor=predictor, mlp=mlp)
