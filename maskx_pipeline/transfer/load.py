"""A fitted mask model from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.data.records import Category, categories_from_json
from maskx_pipeline.engine.checkpoint import load_weights, sha256_of_weights
from maskx_pipeline.engine.runlog import weights_file
from maskx_pipeline.errors import ConfigError, RunError, WeightsError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.settings import in_module
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.transfer.mask_model import MaskModel

if TYPE_CHECKING:
    from maskx_pipeline.detection.load import LoadedDetector

_AGAIN = "run `maskx fit-transfer` again, with --overwrite"


@dataclass(frozen=True, kw_only=True)
class LoadedMaskModel:
    """A fitted mask model and what belongs to it.

    Attributes:
        config: The settings that describe it.
        categories: By ascending label, 1..K.
        seen: Labels of the categories whose masks it was trained on.
        mask_model: T and the mask head, in evaluation mode, without gradients, on the CPU.
        roi_size: S of the RoI features.
        amp: The setting of mixed precision that the mask model was trained with.
        sha256: Of the weights, hex.
        detector: The detector's run folder, or the class that it is; may be gone or no longer the same. After joint
            training, the run folder of the model.
        detector_amp: The setting of mixed precision that this detector was run with.
        detector_pool: The setting ``pool`` that it was run with.
        own_detector: The detector that is part of the model, after joint training.
        cache: The RoI cache that it was fitted from; None after joint training.
        cache_digest: Of what that cache held.
        expected: What `maskx tune` noted to expect of these weights, as JSON; None where it noted nothing.
    """

    folder: Path
    config: TransferConfig
    categories: tuple[Category, ...]
    seen: frozenset[int]
    mask_model: MaskModel
    roi_size: int
    amp: str
    sha256: str
    detector: Path
    detector_identity: str
    detector_amp: str
    detector_pool: str
    own_detector: LoadedDetector | None = None
    cache: Path | None = None
    cache_digest: str = ""
    expected: Mapping[str, Any] | None = None


def load_mask_model(
    run_folder: Path, *, checkpoint: str = "best", content: Mapping[str, Any] | None = None
) -> LoadedMaskModel:
    """Load what ``maskx fit-transfer`` left in a run folder; the RoI cache is not needed.

    Args:
        checkpoint: ``best`` or ``last``. Without a best one, the last one is taken.
        content: Its run.json, if that was read already.

    Raises:
        RunError: No run, another stage's run, or one that has not come so far.
        WeightsError: The weights are damaged or do not fit the settings.
    """
    content = content or read_run(run_folder, stage="fit-transfer")
    path = weights_file(run_folder, checkpoint, stage="fit-transfer")
    tensors = load_weights(path)
    try:
        config = TransferConfig.from_mapping(content["config"], source=str(run_folder / "run.json"))
        categories = categories_from_json(content["categories"])
        seen_ids = set(content["seen"])
        channels, roi_size = int(content["channels"]), int(content["roi_size"])
        cache, cache_digest = (run_folder / content["cache"]).resolve(), str(content["inputs"].get("cache", ""))
        detector = Path(content["detector"])
        detector = detector if in_module(detector) else (run_folder / detector).resolve()
        detector_identity, detector_amp = str(content["detector_sha256"]), str(content["detector_amp"])
        detector_pool = str(content["detector_pool"])
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(f"{run_folder} was not written by this version of maskx: {error}", _AGAIN) from error
    try:
        model = empty_mask_model(config, tensors, num_classes=len(categories), in_channels=channels, roi_size=roi_size)
        model.load_state_dict(tensors)
    except (RuntimeError, WeightsError) as error:
        raise WeightsError(f"{path} does not fit the settings of its run: {error}", _AGAIN) from error
    return LoadedMaskModel(
        folder=run_folder,
        config=config,
        categories=categories,
        seen=frozenset(category.label for category in categories if category.id in seen_ids),
        mask_model=model.eval().requires_grad_(False),
        roi_size=roi_size,
        amp=config.amp,
        sha256=sha256_of_weights(tensors),
        detector=detector,
        detector_identity=detector_identity,
        detector_amp=detector_amp,
        detector_pool=detector_pool,
        cache=cache,
        cache_digest=cache_digest,
        expected=content.get("expected") if checkpoint == "best" else None,
    )
