"""A trained detector from its run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torchvision.models.detection import FasterRCNN

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.config.detection import NONE
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.backbone import resolve_norm
from maskx_pipeline.detection.features import freeze_detector
from maskx_pipeline.detection.identity import check_identity, read_detector_run
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.engine.runlog import weights_file
from maskx_pipeline.errors import WeightsError


@dataclass(frozen=True, slots=True)
class LoadedDetector:
    """A frozen detector and what it was trained with.

    Attributes:
        model: In evaluation mode, on the CPU.
        config: The settings of its training.
        categories: By ascending label, 1..K.
        identity: Of the weights and of all settings that decide what it computes; see :mod:`.identity`.
    """

    model: FasterRCNN
    config: DetectConfig
    categories: tuple[Category, ...]
    identity: str


def load_detector(run_folder: Path, *, checkpoint: str = "best") -> LoadedDetector:
    """Load the detector that ``maskx detect train`` left in a run folder.

    Args:
        run_folder: The run folder.
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


_AGAIN = "run `maskx detect train` again, with --overwrite"


def empty_detector(config: DetectConfig, *, num_classes: int) -> FasterRCNN:
    """A detector whose weights are to be replaced: nothing is downloaded or read for it.

    Its normalisation is that of a training with these settings, frozen where it started from weights.
    """
    norm = resolve_norm(config.norm, config.backbone_weights)
    arguments = {**detector_arguments(config), "norm": norm, "backbone_weights": NONE}
    return build_detector(num_classes=num_classes, **arguments)
