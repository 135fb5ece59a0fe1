"""From the settings of stage 2 to the parts of a mask model: the one place that reads them for that."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError, WeightsError
from maskx_pipeline.transfer.embedding import embedding_source
from maskx_pipeline.transfer.embedding.class_embedding import ClassEmbedding
from maskx_pipeline.transfer.heads import MaskHead, mask_head
from maskx_pipeline.transfer.heads.coordinates import CHANNELS, WithCoordinates
from maskx_pipeline.transfer.heads.mlp import MLPMaskBranch
from maskx_pipeline.transfer.mask_model import MaskModel, MaskPredictor
from maskx_pipeline.transfer.mask_predictors import AgnosticPredictor, ClassSpecificPredictor, TransferPredictor
from maskx_pipeline.transfer.weight_transfer import Similarities, WeightTransfer

_EMBEDDING = "predictor.embedding."
_CENTRES = "predictor.transfer.similarities.centres"


def new_mask_model(
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
        category_names: Of all K categories, for word vectors.
        in_channels, roi_size: C and S of the RoI features.
        seen: Labels of the categories whose masks may be used, all of them by default; only kernel rbf asks.

    Raises:
        ConfigError: The settings contradict each other, the class embeddings do not differ so that they have no
            components or no similarities, or word vectors are missing.
    """
    embedding = class_embedding(config, class_weights=class_weights, category_names=category_names)
    labels = torch.tensor(sorted(range(1, len(category_names) + 1) if seen is None else seen))
    centres = None if embedding is None else (embedding.rows[labels - 1], labels)
    return _put_together(
        config, embedding, centres, num_classes=len(category_names), in_channels=in_channels, roi_size=roi_size
    )


def check_mask_model(
    config: TransferConfig,
    *,
    class_weights: ClassWeights,
    category_names: Sequence[str],
    in_channels: int,
    roi_size: int,
    seen: Collection[int] | None = None,
) -> None:
    """Find what would stop :func:`new_mask_model`, whose arguments these are, before anything is written.

    Raises:
        ConfigError: As there.
    """
    _check(config)
    new_mask_model(  # without the MLP branch, which is large and cannot fail
        config.replace(mask_branch="fcn"),
        class_weights=class_weights,
        category_names=category_names,
        in_channels=in_channels,
        roi_size=roi_size,
        seen=seen,
    )


def empty_mask_model(
    config: TransferConfig, tensors: Mapping[str, Tensor], *, num_classes: int, in_channels: int, roi_size: int
) -> MaskModel:
    """Build the mask model that the settings describe, of the sizes that its weights have, to load them into.

    Args:
        tensors: Its state dict.

    Raises:
        WeightsError: The weights hold no class embedding although there is a T, or one although there is none.
    """
    rows, mean, basis = (tensors.get(f"{_EMBEDDING}{name}") for name in ("rows", "mean", "basis"))
    if (rows is None) != (config.embedding == "none"):
        raise WeightsError(f"The weights do not fit the setting `embedding = {config.embedding}`.")
    embedding = None if rows is None else ClassEmbedding(rows=rows, mean=mean, basis=basis)
    return _put_together(
        config,
        embedding,
        None if rows is None else (tensors.get(_CENTRES, rows), None),
        num_classes=num_classes,
        in_channels=in_channels,
        roi_size=roi_size,
    )


def class_embedding(
    config: TransferConfig, *, class_weights: ClassWeights, category_names: Sequence[str]
) -> ClassEmbedding | None:
    """What T reads by these settings; None where there is no T.

    Raises:
        ConfigError: The settings contradict each other, word vectors are missing, or there are no components.
    """
    _check(config)
    source = embedding_source(config, category_names)
    if source is None:
        return None
    return ClassEmbedding.conditioned(
        source.vectors(class_weights),
        config.structure().condition,
        components=config.components,
        std=config.component_std,
    )


def _check(config: TransferConfig) -> None:
    hidden = config.structure().hide_own
    if hidden > 1 or (hidden and config.structure().kernel != "rbf"):
        raise ConfigError(
            f"hide-own is {hidden:g} with kernel {config.structure().kernel}.",
            "give a share from 0 to 1, with --kernel rbf: only there T reads similarities",
        )
    if config.embedding == "none":
        if config.class_specific and config.mask_branch == "mlp":
            raise ConfigError("The MLP branch alone is class-agnostic.", "leave out --class-specific")
        return
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


def _put_together(
    config: TransferConfig,
    embedding: ClassEmbedding | None,
    centres: tuple[Tensor, Tensor | None] | None,
    *,
    num_classes: int,
    in_channels: int,
    roi_size: int,
) -> MaskModel:
    # The head comes first, so that one seed starts it alike whatever the predictor is.
    head: MaskHead = mask_head(
        config.mask_head,
        in_channels=in_channels + (CHANNELS if config.coordinates else 0),
        width=config.head_width,
        depth=config.head_depth,
        norm=config.head_norm,
    )
    if config.coordinates:
        head = WithCoordinates(head, in_channels=in_channels, roi_size=roi_size)
    predictor: MaskPredictor | None = None
    if embedding is not None:
        form = config.structure()
        similarities = None
        if form.kernel == "rbf" and centres is not None:
            rows, labels = centres
            similarities = Similarities(rows, std=config.component_std, labels=labels, hide_own=form.hide_own)
        transfer = WeightTransfer(
            in_dim=embedding.rows.shape[1],
            out_dim=head.out_channels,
            layers=form.layers,
            activation=form.activation,
            leaky_slope=config.leaky_slope,
            zero_start=form.zero_start,
            shared=form.shared,
            similarities=similarities,
        )
        predictor = TransferPredictor(transfer=transfer, embedding=embedding)
    elif config.class_specific:
        predictor = ClassSpecificPredictor(in_channels=head.out_channels, num_classes=num_classes)
    elif config.mask_branch != "mlp":
        predictor = AgnosticPredictor(in_channels=head.out_channels)
    mlp: MLPMaskBranch | None = None
    if config.mask_branch != "fcn":
        size = head.mask_size(roi_size)
        mlp = MLPMaskBranch(in_channels=head.out_channels, mask_size=size, layers=config.mlp_layers)
    return MaskModel(head=head, predictor=predictor, mlp=mlp)
