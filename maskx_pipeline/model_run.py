"""A trained model, opened from the run folder of fit-transfer or e2e."""

from __future__ import annotations

import logging
from pathlib import Path

from maskx_pipeline.e2e.load import STAGE as E2E
from maskx_pipeline.e2e.load import LoadedE2EModel, load_e2e_model
from maskx_pipeline.engine.device import resolve_device
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.run_folder import read_run
from maskx_pipeline.transfer.load import LoadedMaskModel, load_mask_model
from maskx_pipeline.whole_model import WholeModel, detector_of

logger = logging.getLogger("maskx")


def newest_run(runs: Path) -> Path:
    """The model of stage 2 or of joint training that was finished last.

    Raises:
        RunError: There is none.
    """
    finished = []
    for path in runs.glob("*/*/run.json"):
        record = read_run(path.parent)
        if record["stage"] in ("fit-transfer", E2E) and record["status"] == "finished":
            finished.append((record["finished"], path.parent))
    if not finished:
        raise RunError(f"{runs} holds no finished model.", "run `maskx fit-transfer`, or give one with --model PATH")
    return max(finished)[1]


def load_model(folder: Path, checkpoint: str) -> LoadedMaskModel | LoadedE2EModel:
    if read_run(folder)["stage"] == E2E:
        return load_e2e_model(folder, checkpoint=checkpoint)
    return load_mask_model(folder, checkpoint=checkpoint)


def whole_model(loaded: LoadedMaskModel | LoadedE2EModel, *, device: str) -> WholeModel:
    if isinstance(loaded, LoadedE2EModel):
        return loaded.maskx(device)
    detector = detector_of(loaded)
    return WholeModel.build(detector, loaded, device=resolve_device(device), detector_amp=loaded.detector_amp)
