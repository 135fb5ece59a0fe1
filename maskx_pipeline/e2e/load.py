"""An e2e model from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.config import DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.data.records import Category, categories_from_json
from maskx_pipeline.detection.load import empty_detector
from maskx_pipeline.e2e.model import E2EModel
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import weights_file
from maskx_pipeline.errors import ConfigError, RunError, WeightsError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.transfer.embedding import embedding_source

STAGE = "e2e"

_MASK_MODEL = "mask_model."
_AGAIN = "run `maskx e2e` again, with --overwrite"


@dataclass(frozen=True, slots=True)
class LoadedE2EModel:
    """An e2e model and what belongs to it.

    Attributes:
        model: In evaluation mode, without gradients, on the CPU.
        categories: By ascending label, 1..K.
        seen: Labels of the categories whose masks it was trained on.
        sha256: Of these weights, hex.
    """

    model: E2EModel
    config: E2EConfig
    detect: DetectConfig
    categories: tuple[Category, ...]
    seen: frozenset[int]
    sha256: str


def load_e2e_model(
    run_folder: Path, *, checkpoint: str = "best", content: Mapping[str, Any] | None = None
) -> LoadedE2EModel:
    """Load what ``maskx e2e`` left in a run folder; nothing that it started from is needed.

    Args:
        checkpoint: ``best`` or ``last``. Without a best one, the last one is taken.
        content: Its run.json, if that was read already.

    Raises:
        RunError: No run, another stage's run, or one that has not come so far.
        WeightsError: The weights are damaged or do not fit the settings.
    """
    content = content or read_run(run_folder, stage=STAGE)
    path = weights_file(run_folder, checkpoint, stage=STAGE)
    tensors = load_weights(path)
    source = str(run_folder / "run.json")
    try:
        config = E2EConfig.from_mapping(content["config"], source=source)
        detect = DetectConfig.from_mapping(content["detect"], source=source)
        transfer = TransferConfig.from_mapping(content["transfer"], source=source)
        categories = categories_from_json(content["categories"])
        seen_ids = set(content["seen"])
    except (ConfigError, KeyError, TypeError) as error:
        raise RunError(f"{run_folder} was not written by this version of maskx: {error}", _AGAIN) from error
    detector = empty_detector(detect, num_classes=len(categories) + 1)
    mask_tensors = {n.removeprefix(_MASK_MODEL): v for n, v in tensors.items() if n.startswith(_MASK_MODEL)}
    try:
        model = E2EModel(
            detector=detector,
            mask_model=empty_mask_model(
                transfer,
                mask_tensors,
                num_classes=len(categories),
                in_channels=int(detector.backbone.out_channels),
                roi_size=config.roi_size,
            ),
            source=embedding_source(transfer, [category.name for category in categories]),
            stop_gradient=config.stop_gradient,
            roi_size=config.roi_size,
        )
        model.load_state_dict(tensors)
    except (RuntimeError, WeightsError) as error:
        raise WeightsError(f"{path} does not fit the settings of its run: {error}", _AGAIN) from error
    model.refresh()
    return LoadedE2EModel(
        model=model.eval().requires_grad_(False),
        config=config,
        detect=detect,
        categories=categories,
        seen=frozenset(category.label for category in categories if category.id in seen_ids),
        sha256=sha256_of_weights(tensors),
    )
