"""A trained detector from its run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.config.detection import ASSIGNED, NONE
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.backbone import resolve_norm
from maskx_pipeline.detection.features import FrozenDetector, freeze_detector
from maskx_pipeline.detection.identity import check_identity, detector_identities, read_detector_run
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.engine.device import amp_dtype
from maskx_pipeline.engine.runlog import weights_file
from maskx_pipeline.errors import RunError, WeightsError
from maskx_pipeline.settings import class_of


@dataclass(frozen=True, slots=True)
class LoadedDetector:
    """A frozen detector and what it was trained with.

    Attributes:
        model: In evaluation mode, on the CPU.
        categories: By ascending label, 1..K.
        identity: Of the weights and of all settings that decide what it computes; see :mod:`.identity`.
    """

    model: FasterRCNN
    config: DetectConfig
    categories: tuple[Category, ...]
    identity: str

    def frozen(self, *, device: torch.device, amp: str, pooling: str = ASSIGNED) -> FrozenDetector:
        """The detector to look through, in the mixed precision that the setting ``amp`` means on this device.

        Raises:
            ConfigError: It has fewer maps than ``pooling`` needs.
        """
        return FrozenDetector(
            self.model,
            device=device,
            amp_dtype=amp_dtype(amp, device),
            categories=self.categories,
            identity=self.identity,
            pooling=pooling,
        )


def load_detector(run_folder: Path, *, checkpoint: str = "best") -> LoadedDetector:
    """Load the detector that ``maskx detect train`` left in a run folder.

    Args:
        checkpoint: ``best`` or ``last``. Without a best one (box AP was never measured), the last one is taken.

    Raises:
        RunError: No run, another stage's run, or one that has not come so far.
        WeightsError: The weights are damaged, do not fit, or are not those that the run wrote.
    """
    run = read_detector_run(run_folder)
    path = weights_file(run_folder, checkpoint, stage="detect")
    tensors = load_weights(path)
    model = empty_detector(run.config, num_classes=len(run.categories) + 1)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit the settings of its run: {error}", _AGAIN) from error
    return LoadedDetector(freeze_detector(model), run.config, run.categories, check_identity(run, path, tensors))


def find_detector(place: Path, identity: str) -> LoadedDetector:
    """The detector that a mask model was fitted on: the best or the last weights of a run.

    Args:
        place: Where it was when the model was fitted.
        identity: Its identity, hex.

    Raises:
        RunError: It is gone, was trained again since, or never was one of maskx's.
    """
    if class_of(place):
        raise RunError(
            f"This needs a Faster R-CNN of maskx, but the detector of this model is {place}.",
            "joint training needs a detector of `maskx detect`; `maskx export-model --format onnx` exports the mask "
            "head alone",
        )
    if not place.exists():
        raise RunError(
            f"The detector that this model was fitted on is not at {place}, and images need it.",
            "bring it back, or give its run folder with --detector (predict, annotate, evaluate); `maskx evaluate "
            "--from cache` and `maskx export-model --format onnx` do without it",
        )
    for checkpoint, found in detector_identities(place).items():
        if found == identity:
            return load_detector(place, checkpoint=checkpoint)
    raise RunError(
        f"{place} is no longer the detector that this model was fitted on.",
        "export and fit again, or evaluate with --from cache",
    )


_AGAIN = "run `maskx detect train` again, with --overwrite"


def empty_detector(config: DetectConfig, *, num_classes: int) -> FasterRCNN:
    """A detector whose weights are to be replaced: nothing is downloaded or read for it.

    Its normalisation is that of a training with these settings, frozen where it started from weights.
    """
    norm = resolve_norm(config.norm, config.backbone_weights)
    arguments = {**detector_arguments(config), "norm": norm, "backbone_weights": NONE}
    return build_detector(num_classes=num_classes, **arguments)
