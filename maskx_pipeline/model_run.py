"""A trained model, opened once from the run folder of fit-transfer or e2e.

Faster R-CNN is imported where it is built: evaluating from the RoI cache needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskx_pipeline.config import E2EConfig
from maskx_pipeline.detection.detector import Detector
from maskx_pipeline.detection.detector_class import make_detector
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.errors import RunError
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.provenance.there import newest_run
from maskx_pipeline.settings import class_of, in_module
from maskx_pipeline.transfer.load import LoadedMaskModel, load_mask_model
from maskx_pipeline.whole_model import WholeModel

if TYPE_CHECKING:
    from maskx_pipeline.detection.load import LoadedDetector


@dataclass(frozen=True, kw_only=True)
class ModelRun(LoadedMaskModel):
    """A trained model, and which classes may be its detector."""

    classes: DetectorClasses = NO_CLASSES

    def whole_model(self, device: str, *, detector: Detector | None = None) -> WholeModel:
        """Detector and mask model together, in the precision of their training.

        Args:
            detector: The detector, if it need not be looked for.

        Raises:
            RunError: It is gone or another one, or it is a class that the user has not named.
            ConfigError: The class cannot be imported or called.
        """
        at = resolve_device(device)
        if detector is None:
            detector = self._find_detector(device)
        if detector.identity != self.detector_identity:
            raise RunError(
                f"{self.folder} was fitted on the detector {self.detector_identity:.12}, but this one is "
                f"{detector.identity:.12}.",
                "export and fit again for this detector, or evaluate with --from cache",
            )
        return WholeModel(
            detector,
            self.mask_model,
            roi_size=self.roi_size,
            device=at,
            amp_dtype=amp_dtype(self.amp, at),
            half_features=self.own_detector is None,
        )

    def faster_rcnn(self) -> LoadedDetector:
        """The detector as maskx's own Faster R-CNN.

        Raises:
            RunError: It is gone, another one, or of another kind.
        """
        if self.own_detector is not None:
            return self.own_detector
        from maskx_pipeline.detection.load import find_detector

        return find_detector(self.detector, self.detector_identity)

    def _find_detector(self, device: str) -> Detector:
        if not class_of(self.detector):
            return self.faster_rcnn().frozen(
                device=resolve_device(device), amp=self.detector_amp, pooling=self.detector_pool
            )
        if _absolute(self.detector) not in map(_absolute, self.classes.named):
            raise RunError(
                f"{self.folder} was fitted on the detector {self.detector}. That is code, which is imported only if "
                "you name it yourself.",
                f"give --detector {self.detector}, or name it in [fit-transfer] of maskx.toml; in Python, give it to "
                "load()",
            )
        return make_detector(self.detector, self.classes.settings)


def open_model(
    folder: Path | None,
    *,
    runs: Path = Path("runs"),
    checkpoint: str = "best",
    detector: Path | None = None,
    classes: DetectorClasses = NO_CLASSES,
) -> ModelRun:
    """Open what ``maskx fit-transfer`` or ``maskx e2e`` left in a run folder.

    Args:
        folder: The run folder; None is the newest of ``runs``.
        runs: Where the newest is looked for.
        detector: The detector's run folder or class, where it is not what was recorded; a model of e2e has its own.
        classes: What maskx.toml says of detectors that are classes.

    Raises:
        RunError: No such run, or it has not come so far.
        WeightsError: The weights are damaged or do not fit the settings.
    """
    folder, content = newest_run(runs) if folder is None else (folder, read_run(folder))
    if content["stage"] == E2EConfig.table:
        from maskx_pipeline.e2e.load import load_e2e_model

        return ModelRun(**vars(load_e2e_model(folder, checkpoint=checkpoint, content=content)))
    if detector is not None and class_of(detector):
        classes = DetectorClasses(classes.named | {detector}, classes.settings)
    known = content if content["stage"] == "fit-transfer" else None  # else it is read again, to say what is wrong
    fitted = load_mask_model(folder, checkpoint=checkpoint, content=known)
    return ModelRun(**{**vars(fitted), "detector": detector or fitted.detector}, classes=classes)


def _absolute(place: Path) -> Path:
    return place if in_module(place) else place.resolve()
