"""A detector as its run folder describes it: what a finished export compares is known without building the model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from maskx_pipeline.config.detection import ASSIGNED, POOLS
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.identity import check_identity, read_detector_run
from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import weights_file

if TYPE_CHECKING:
    from maskx_pipeline.detection.features import FrozenDetector, FrozenImage


class DetectorOfRun:
    """A frozen detector of maskx, whose model is built, and torchvision imported, where it is first looked through.

    The weights are read, so that they are known to be those that the run wrote.

    Args:
        run_folder: Of `maskx detect`.
        checkpoint: ``best`` or ``last``.
        device: The setting of that name, as ``amp``.
        pooling: From which maps RoI features are pooled.

    Raises:
        RunError: No run, another stage's run, or one that has not come so far.
        WeightsError: The weights are damaged, or are not those that the run wrote.
        MachineError: There is no such device, or it has no such precision.
    """

    def __init__(self, run_folder: Path, *, checkpoint: str, device: str, amp: str, pooling: str = ASSIGNED) -> None:
        run = read_detector_run(run_folder)
        path = weights_file(run_folder, checkpoint, stage="detect")
        self.categories = run.categories
        self.identity = check_identity(run, path, load_weights(path))
        self.channels = run.config.fpn_channels * POOLS[pooling]
        self.detections_per_image = run.config.detections_per_image
        at = resolve_device(device)
        amp_dtype(amp, at)
        self._made_of = (run_folder, checkpoint, at, amp, pooling)

    @property
    def class_weights(self) -> ClassWeights:
        """A row per category."""
        return self._model.class_weights

    def extract(self, image: Tensor) -> FrozenImage:
        """Look at one image, FloatTensor[3, H, W], RGB in 0..1."""
        return self._model.extract(image)

    @cached_property
    def _model(self) -> FrozenDetector:
        from maskx_pipeline.detection.load import load_detector

        run_folder, checkpoint, device, amp, pooling = self._made_of
        return load_detector(run_folder, checkpoint=checkpoint).frozen(device=device, amp=amp, pooling=pooling)
