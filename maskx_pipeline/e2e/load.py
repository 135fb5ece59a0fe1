"""An e2e model from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.config import DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.config.detection import POOLS
from maskx_pipeline.data.records import categories_from_json
from maskx_pipeline.detection.features import freeze_detector
from maskx_pipeline.detection.load import LoadedDetector, empty_detector
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import weights_file
from maskx_pipeline.errors import ConfigError, RunError, WeightsError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.transfer.load import LoadedMaskModel

_AGAIN = "run `maskx e2e` again, with --overwrite"


def load_e2e_model(
    run_folder: Path, *, checkpoint: str = "best", content: Mapping[str, Any] | None = None
) -> LoadedMaskModel:
    """Load what ``maskx e2e`` left in a run folder; nothing that it started from is needed.

    Args:
        checkpoint: ``best`` or ``last``. Without a best one, the last one is taken.
        content: Its run.json, if that was read already.

    Raises:
        RunError: No run, another stage's run, or one that has not come so far.
        WeightsError: The weights are damaged or do not fit the settings.
    """
    content = content or read_run(run_folder, stage=E2EConfig.table)
    path = weights_file(run_folder, checkpoint, stage=E2EConfig.table)
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
    of_detector, of_mask_model = (
        {name.removeprefix(part): value for name, value in tensors.items() if name.startswith(part)}
        for part in ("detector.", "mask_model.")
    )
    channels = int(detector.backbone.out_channels) * POOLS[config.pool]
    try:
        mask_model = empty_mask_model(
            transfer, of_mask_model, num_classes=len(categories), in_channels=channels, roi_size=config.roi_size
        )
        mask_model.load_state_dict(of_mask_model)
        detector.load_state_dict(of_detector)
    except (RuntimeError, WeightsError) as error:
        raise WeightsError(f"{path} does not fit the settings of its run: {error}", _AGAIN) from error
    sha256 = sha256_of_weights(tensors)
    return LoadedMaskModel(
        folder=run_folder,
        config=transfer,
        categories=categories,
        seen=frozenset(category.label for category in categories if category.id in seen_ids),
        mask_model=mask_model.eval().requires_grad_(False),
        roi_size=config.roi_size,
        amp=config.amp,
        sha256=sha256,
        detector=run_folder,
        detector_identity=sha256,
        detector_amp=config.amp,
        detector_pool=config.pool,
        own_detector=LoadedDetector(freeze_detector(detector), detect, categories, sha256),
    )
