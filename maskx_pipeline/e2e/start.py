"""What joint training starts from: backbone weights, a detector, or a stage-wise model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskx_pipeline.config import DetectConfig, E2EConfig, TransferConfig, mask_options
from maskx_pipeline.config.detection import NONE, POOLS
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.backbone import train_stages
from maskx_pipeline.detection.class_weights import ClassWeights, class_weights
from maskx_pipeline.detection.first_checks import check_detector, content_of
from maskx_pipeline.detection.identity import refuse_mask_weights, trained_with_masks
from maskx_pipeline.detection.load import LoadedDetector, find_detector, load_detector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.errors import ConfigError, RunError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.settings import option_name
from maskx_pipeline.transfer.construction import check_mask_model, new_mask_model
from maskx_pipeline.transfer.embedding import embedding_source
from maskx_pipeline.transfer.load import LoadedMaskModel, load_mask_model

BACKBONE = "backbone"

_OF_TRAINING = ("box_loss", "box_loss_weight")
"""Settings of the mask model that joint training may change."""


@dataclass(frozen=True, slots=True)
class Start:
    """What joint training starts from.

    Attributes:
        detector: The trained detector, or None for a new one.
        fitted: The fitted mask model, or None for a new one.
        content: Changes when what it starts from does.
    """

    detect: DetectConfig
    transfer: TransferConfig
    detector: LoadedDetector | None
    fitted: LoadedMaskModel | None
    content: str

    def identity(self) -> dict[str, Any]:
        """The settings of detector and mask model that decide the result."""
        arguments = detector_arguments(self.detect)
        detector = {k: v for k, v in self.detect.identity().items() if k in arguments}
        return {**detector, **{k: v for k, v in self.transfer.identity().items() if k in mask_options()}}


def read_start(
    config: E2EConfig,
    *,
    detect: DetectConfig,
    transfer: TransferConfig,
    asked: Collection[str],
    categories: Sequence[Category],
    seen: Collection[int],
) -> Start:
    """Read and check what ``config.init`` names.

    Args:
        asked: Fields of ``transfer`` that the user gave for this very run; a fitted mask model must have them too.
        categories: Those of the training data, by ascending label.
        seen: Labels of the categories whose masks may be used.

    Raises:
        RunError: ``init`` is no such run, of other categories, or of a model that was trained with more masks.
        ConfigError: T cannot be trained as asked from this start.
        WeightsError: Only some categories are seen, but the detector's first weights were trained with masks.
    """
    init = config.init
    transfer = transfer.replace(seed=config.seed)  # which the vectors of randn come from
    names = [category.name for category in categories]
    stage = BACKBONE if init.name == BACKBONE and not init.exists() else _stage_of(init)
    if stage == BACKBONE:
        _check_random_start(transfer, categories)
        check_detector(detect)
        check_mask_model(
            transfer,
            class_weights=_zero_weights(detect, len(categories)),
            category_names=names,
            in_channels=detect.fpn_channels * POOLS[config.pool],
            roi_size=config.roi_size,
            seen=seen,
        )
        start = Start(detect, transfer, None, None, f"{BACKBONE} {content_of(detect.backbone_weights)}")
    elif stage == "detect":
        detector = load_detector(init, checkpoint=config.checkpoint)
        _check_categories(init, detector.categories, categories)
        check_mask_model(
            transfer,
            class_weights=class_weights(detector.model),
            category_names=names,
            in_channels=int(detector.model.backbone.out_channels) * POOLS[config.pool],
            roi_size=config.roi_size,
            seen=seen,
        )
        start = Start(detector.config, transfer, detector, None, f"detector {detector.identity}")
    else:
        fitted = load_mask_model(init, checkpoint=config.checkpoint)
        _check_categories(init, fitted.categories, categories)
        _check_fitted(init, fitted, config, transfer, asked)
        _check_seen(init, fitted, seen)
        detector = find_detector(fitted.detector, fitted.detector_identity)
        from_what = f"transfer model {fitted.sha256} on detector {detector.identity}"
        supervision = {name: getattr(transfer, name) for name in _OF_TRAINING}
        start = Start(detector.config, fitted.config.replace(**supervision), detector, fitted, from_what)
    if trained_with_masks(start.detect) and len(seen) < len(categories) and not config.allow_mask_weights:
        refuse_mask_weights(f"The detector of {init}" if start.detector else start.detect.backbone_weights)
    return start


def _stage_of(init: Path) -> str:
    if init.is_file():
        raise RunError(
            f"--init {init} is a file, not the folder of a run.",
            "give backbone-weights in [detect] the file, and --init backbone; or the folder of a run",
        )
    stage = str(read_run(init)["stage"])
    if stage not in ("detect", "fit-transfer"):
        raise RunError(
            f"{init} holds a run of `maskx {stage}`, and joint training cannot start from that.",
            "give --init backbone, or the run folder of a detector or of a transfer model",
        )
    return stage


def build_e2e_model(
    config: E2EConfig, start: Start, *, categories: Sequence[Category], seen: Collection[int]
) -> E2EModel:
    """Put the model together as it is before the first step; the caller seeds torch."""
    if start.detector is None:
        detector = build_detector(num_classes=len(categories) + 1, **detector_arguments(start.detect))
    else:
        detector = start.detector.model
        detector.requires_grad_(True)
        if start.detect.backbone_weights != NONE:
            train_stages(detector, start.detect.trainable_layers)
    names = [category.name for category in categories]
    if start.fitted is None:
        mask_model = new_mask_model(
            start.transfer,
            class_weights=class_weights(detector),
            category_names=names,
            in_channels=int(detector.backbone.out_channels) * POOLS[config.pool],
            roi_size=config.roi_size,
            seen=seen,
        )
    else:
        mask_model = start.fitted.mask_model.requires_grad_(True)
    return E2EModel(
        detector=detector,
        mask_model=mask_model,
        source=embedding_source(start.transfer, names),
        stop_gradient=config.stop_gradient,
        roi_size=config.roi_size,
        pooling=config.pool,
        box_loss=start.transfer.box_loss,
    )


def _check_random_start(transfer: TransferConfig, categories: Sequence[Category]) -> None:
    structure = transfer.structure()
    source = embedding_source(transfer, [category.name for category in categories])
    fixed = f"the condition {structure.condition}" if structure.condition != "raw" else "the kernel rbf"
    if source is not None and source.live and (structure.condition, structure.kernel) != ("raw", "linear"):
        raise ConfigError(
            f"T would read class weights under {fixed}. That is fixed at the start, when the class weights of a new "
            "detector are still random.",
            "give --condition raw --kernel linear or --form published, or start from a detector: --init runs/detector",
        )


def _zero_weights(detect: DetectConfig, count: int) -> ClassWeights:
    width = detect.box_head_dim
    return ClassWeights(*(torch.zeros(count, size) for size in (width, 1, 4 * width, 4)))


def _check_categories(init: Path, found: Sequence[Category], wanted: Sequence[Category]) -> None:
    if [(c.id, c.name) for c in found] != [(c.id, c.name) for c in wanted]:
        raise RunError(
            f"{init} has {len(found)} categories which are not the {len(wanted)} of the training data.",
            "start from a model of the same categories",
        )


def _check_fitted(
    init: Path, fitted: LoadedMaskModel, config: E2EConfig, transfer: TransferConfig, asked: Collection[str]
) -> None:
    has_all, wanted_all = fitted.config.identity(), transfer.identity()
    for name in sorted((has_all.keys() & set(asked)) - set(_OF_TRAINING)):
        has, wanted = has_all[name], wanted_all[name]
        if has != wanted:
            raise ConfigError(
                f"{init} is of another architecture: its {option_name(name)} is {has}, and {wanted} was asked for.",
                f"leave out --{option_name(name)}, or start from a detector",
            )
    if fitted.roi_size != config.roi_size:
        raise ConfigError(
            f"{init} is of another architecture: it reads RoI features of side {fitted.roi_size}, and "
            f"{config.roi_size} was asked for.",
            f"give --roi-size {fitted.roi_size}",
        )
    if fitted.detector_pool != config.pool:
        raise ConfigError(
            f"{init} is of another architecture: it reads RoI features pooled as {fitted.detector_pool}, and "
            f"{config.pool} was asked for.",
            f"give --pool {fitted.detector_pool}",
        )


def _check_seen(init: Path, fitted: LoadedMaskModel, seen: Collection[int]) -> None:
    leaked = fitted.seen - set(seen)
    if leaked:
        names = ", ".join(c.name for c in fitted.categories if c.label in leaked)
        raise RunError(
            f"{init} was fitted to masks of categories that are unseen here: {names[:200]}.",
            "start from a model of the same --split",
        )
