"""The mask model of stage 2: RoI features and labels in, mask logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.transfer.embeddings import class_embeddings, principal_components
from maskx_pipeline.transfer.mask_heads import FCNMaskHead
from maskx_pipeline.transfer.mask_predictors import AgnosticPredictor, TransferPredictor
from maskx_pipeline.transfer.weight_transfer import WeightTransfer


class MaskModel(nn.Module):
    """A mask head, which is the same for every category, and a predictor, which may depend on the label.

    Args:
        head: [N, C, S, S] to mask features [N, C', M, M].
        predictor: Mask features and labels to mask logits [N, M, M].
    """

    def __init__(self, *, head: FCNMaskHead, predictor: AgnosticPredictor | TransferPredictor) -> None:
        super().__init__()
        self.head = head
        self.predictor = predictor
        self.to(memory_format=torch.channels_last)  # as fast as NCHW or faster on CPUs and GPUs, most so in bf16

    def mask_weights(self) -> Tensor:
        """The 1x1 kernels w_seg: FloatTensor[K, C'], one row per category; [1, C'] if class-agnostic."""
        return self.predictor.mask_weights()

    def forward(self, roi_features: Tensor, labels: Tensor) -> Tensor:
        """Predict the mask of each RoI for its label, and for no other.

        Args:
            roi_features (FloatTensor or HalfTensor[N, C, S, S]): Pooled features of the frozen detector.
            labels (int64 [N]): The label of each RoI, 1..K.

        Returns:
            FloatTensor[N, M, M]: Mask logits, M = 2S; in the autocast dtype where autocast is on.
        """
        dtype = self.head.deconv.weight.dtype
        features = roi_features.to(dtype=dtype, memory_format=torch.channels_last)
        logits: Tensor = self.predictor(self.head(features), labels)
        return logits


def build_mask_model(config: TransferConfig, *, class_weights: ClassWeights, in_channels: int) -> MaskModel:
    """Build the untrained mask model that the settings describe; the caller seeds torch.

    Args:
        config: The settings of stage 2.
        class_weights: Weights of the frozen box head.
        in_channels: C of the RoI features.

    Raises:
        ConfigError: The class weights do not differ, so that they have no components.
    """
    embeddings: Tensor | None = None
    if config.embedding != "none":
        embeddings = class_embeddings(class_weights, config.embedding)
        if config.form == "conditioned":
            embeddings = principal_components(embeddings, components=config.components, std=config.component_std)
    return assemble_mask_model(config, embeddings=embeddings, in_channels=in_channels)


def assemble_mask_model(config: TransferConfig, *, embeddings: Tensor | None, in_channels: int) -> MaskModel:
    """Build the mask model from what T reads: ``embeddings`` [K, D], or None for the class-agnostic baseline."""
    # The head comes first, so that one seed starts it alike whatever the predictor is.
    head = FCNMaskHead(in_channels=in_channels, width=config.head_width, depth=config.head_depth)
    if embeddings is None:
        return MaskModel(head=head, predictor=AgnosticPredictor(in_channels=head.out_channels))
    conditioned = config.form == "conditioned"
    transfer = WeightTransfer(
        in_dim=embeddings.shape[1],
        out_dim=head.out_channels,
        layers=1 if conditioned else 2,
        activation="none" if conditioned else "leaky_relu",
        leaky_slope=config.leaky_slope,
        zero_start=conditioned,
        shared=conditioned,
    )
    return MaskModel(head=head, predictor=TransferPredictor(transfer=transfer, class_embeddings=embeddings))
