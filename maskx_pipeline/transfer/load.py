"""A fitted mask model from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.data.records import Category, categories_from_json
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import weights_file
from maskx_pipeline.errors import ConfigError, RunError, WeightsError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.settings import in_module
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.transfer.mask_model import MaskModel

_AGAIN = "run `maskx fit-transfer` again, with --overwrite"


@dataclass(frozen=True, slots=True)
class LoadedMaskModel:
    """A fitted mask model and what belongs to it.

    Attributes:
        model: In evaluation mode, without gradients, on the CPU.
        config: The settings of its fit.
        categories: By ascending label, 1..K.
        seen: Labels of the categories whose masks it was fitted to.
        roi_size: S of the features it was fitted on.
        cache_path: The RoI cache it was fitted from.
        cache_digest: Of what that cache held.
        detector: Run folder of the frozen detector, or its class; may be gone or no longer the same.
        detector_amp: Mixed precision with which the detector was run for the cache.
        detector_sha256: The frozen detector's identity.
        sha256: Of these weights, hex.
    """

    model: MaskModel
    config: TransferConfig
    categories: tuple[Category, ...]
    seen: frozenset[int]
    roi_size: int
    cache_path: Path
    cache_digest: str
    detector: Path
    detector_amp: str
    detector_sha256: str
    sha256: str


def load_mask_model(
    run_folder: Path, *, checkpoint: str = "best", record: Mapping[str, Any] | None = None
) -> LoadedMaskModel:
    """Load what ``maskx fit-transfer`` left in a run folder; the RoI cache is not needed.

    Args:
        run_folder: The run folder.
        checkpoint: ``best`` or ``last``. Without a best one, the last one is taken.
        record: Its run.json, if that was read already.

    Raises:
        RunError: No run, another stage's run, or one that has not come so far.
        WeightsError: The weights are damaged or do not fit the settings.
    """
    record = record or read_run(run_folder, stage="fit-transfer")
    path = weights_file(run_folder, checkpoint, stage="fit-transfer")
    tensors = load_weights(path)
    try:
        config = TransferConfig.from_mapping(record["config"], source=str(run_folder / "run.json"))
        categories = categories_from_json(record["categories"])
        seen_ids = set(record["seen"])
        channels, roi_size = int(record["channels"]), int(record["roi_size"])
        cache_path, cache_digest = (run_folder / record["cache"]).resolve(), str(record["inputs"].get("cache", ""))
        detector = Path(record["detector"])
        detector = detector if in_module(detector) else (run_folder / detector).resolve()
        detector_sha256, detector_amp = str(record["detector_sha256"]), str(record["detector_amp"])
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run_folder} was not written by this version of maskx: {error}", _AGAIN) from error
    try:
        model = empty_mask_model(config, tensors, num_classes=len(categories), in_channels=channels, roi_size=roi_size)
        model.load_state_dict(tensors)
    except (RuntimeError, WeightsError) as error:
        raise WeightsError(f"{path} does not fit the settings of its run: {error}", _AGAIN) from error
    return LoadedMaskModel(
        model=model.eval().requires_grad_(False),
        config=config,
        categories=categories,
        seen=frozenset(category.label for category in categories if category.id in seen_ids),
        roi_size=roi_size,
        cache_path=cache_path,
        cache_digest=cache_digest,
        detector=detector,
        detector_amp=detector_amp,
        detector_sha256=detector_sha256,
        sha256=sha256_of_weights(tensors),
    )
