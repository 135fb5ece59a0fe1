"""The mask model of stage 2: RoI features and labels in, mask logits out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embeddings import class_embeddings, condition_embeddings
from maskx_pipeline.transfer.mask_heads import FCNMaskHead, MLPMaskBranch
from maskx_pipeline.transfer.mask_predictors import AgnosticPredictor, ClassSpecificPredictor, TransferPredictor
from maskx_pipeline.transfer.weight_transfer import Similarities, WeightTransfer
from maskx_pipeline.transfer.word_vectors import random_vectors, read_vectors

EMBEDDINGS = "predictor.class_embeddings"
"""Where the weights of a model with T hold the class embeddings that T reads."""

CENTRES = "predictor.transfer.similarities.centres"
"""Where the weights of a model of kernel rbf hold what T compares with, which says how many categories these are."""

MaskPredictor = AgnosticPredictor | ClassSpecificPredictor | TransferPredictor


class MaskModel(nn.Module):
    """A mask head, which is the same for every category, and on it a predictor, an MLP branch, or the sum of both.

    Args:
        head: [N, C, S, S] to mask features [N, C', M, M].
        predictor: Mask features and labels to mask logits [N, M, M]; may depend on the label.
        mlp: Mask features to mask logits [N, M, M], whatever the label.
    """

    def __init__(self, *, head: FCNMaskHead, predictor: MaskPredictor | None, mlp: MLPMaskBranch | None = None) -> None:
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
            return self.head.deconv.weight.new_zeros(0, self.head.out_channels)
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
        mask_features = self.head(roi_features.to(dtype=dtype, memory_format=torch.channels_last))
        logits: list[Tensor] = [] if self.predictor is None else [self.predictor(mask_features, labels)]
        if self.mlp is not None:
            logits.append(self.mlp(mask_features))
        return logits[0] if len(logits) == 1 else logits[0] + logits[1]  # added before the sigmoid (section 3.4)


def build_mask_model(
    config: TransferConfig,
    *,
    class_weights: ClassWeights,
    category_names: Sequence[str],
    in_channels: int,
    roi_size: int,
    seen: Collection[int] | None = None,
) -> MaskModel:
    """Build the untrained mask model that the settings describe; the caller seeds torch.

    Args:
        config: The settings of stage 2.
        class_weights: Weights of the frozen box head.
        category_names: Of all K categories, for word vectors.
        in_channels: C of the RoI features.
        roi_size: S of the RoI features.
        seen: Labels of the categories whose masks may be used, all of them by default; only kernel rbf asks.

    Raises:
        ConfigError: The settings contradict each other, the class embeddings do not differ so that they have no
            components or no similarities, or word vectors are missing.
    """
    embeddings = raw_embeddings(config, class_weights=class_weights, category_names=category_names)
    centres = None
    if embeddings is not None:
        embeddings = condition_embeddings(
            embeddings, config.structure().condition, components=config.components, std=config.component_std
        )
        centres = embeddings if seen is None else embeddings[[label - 1 for label in sorted(seen)]]
    return assemble_mask_model(
        config,
        embeddings=embeddings,
        centres=centres,
        num_classes=len(class_weights.w_cls),
        in_channels=in_channels,
        roi_size=roi_size,
    )


def raw_embeddings(
    config: TransferConfig, *, class_weights: ClassWeights, category_names: Sequence[str]
) -> Tensor | None:
    """The class embeddings [K, D] that the settings name, before they are conditioned; None for ``none``.

    Raises:
        ConfigError: The settings contradict each other, or word vectors are missing.
    """
    if config.embedding == "none":
        if config.class_specific and config.mask_branch == "mlp":
            raise ConfigError("The MLP branch alone is class-agnostic.", "leave out --class-specific")
        return None
    if config.class_specific:
        raise ConfigError(
            "Class-specific mask weights are learned and not read from an embedding.",
            "give --embedding none with --class-specific",
        )
    if config.mask_branch == "mlp":
        raise ConfigError(
            "The MLP branch alone is class-agnostic, so T would not be used.",
            "give --embedding none with --mask-branch mlp, or --mask-branch fcn+mlp",
        )
    if config.embedding == "randn":
        return random_vectors(category_names, dim=config.embedding_dim, per=config.randn_per, seed=config.seed)
    if config.embedding != "glove":
        return class_embeddings(class_weights, config.embedding)
    if config.embedding_file is None:
        raise ConfigError("The embedding glove is read from a file.", "give it with --embedding-file FILE")
    return read_vectors(config.embedding_file, category_names, names_file=config.embedding_names)


def assemble_mask_model(
    config: TransferConfig,
    *,
    embeddings: Tensor | None,
    num_classes: int,
    in_channels: int,
    roi_size: int,
    centres: Tensor | None = None,
) -> MaskModel:
    """Build the mask model from what T reads: ``embeddings`` [K, D], or None where there is no T.

    Under kernel rbf T compares them with ``centres`` [S, D], by default with themselves.
    """
    # The head comes first, so that one seed starts it alike whatever the predictor is.
    head = FCNMaskHead(in_channels=in_channels, width=config.head_width, depth=config.head_depth)
    predictor: MaskPredictor | None = None
    if embeddings is not None:
        structure = config.structure()
        similarities = None
        if structure.kernel == "rbf":
            similarities = Similarities(embeddings if centres is None else centres, std=config.component_std)
        transfer = WeightTransfer(
            in_dim=embeddings.shape[1],
            out_dim=head.out_channels,
            layers=structure.layers,
            activation=structure.activation,
            leaky_slope=config.leaky_slope,
            zero_start=structure.zero_start,
            shared=structure.shared,
            similarities=similarities,
        )
        predictor = TransferPredictor(transfer=transfer, class_embeddings=embeddings)
    elif config.class_specific:
        predictor = ClassSpecificPredictor(in_channels=head.out_channels, num_classes=num_classes)
    elif config.mask_branch != "mlp":
        predictor = AgnosticPredictor(in_channels=head.out_channels)
    mlp: MLPMaskBranch | None = None
    if config.mask_branch != "fcn":
        mlp = MLPMaskBranch(in_channels=head.out_channels, mask_size=2 * roi_size, layers=config.mlp_layers)
    return MaskModel(head=head, predictor=predictor, mlp=mlp)
