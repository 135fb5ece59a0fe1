"""A detector that is known from its run before its model is built."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_detector import CATEGORIES

from maskx_pipeline.config.detection import ASSIGNED, FINEST_AND_ASSIGNED
from maskx_pipeline.detection import load
from maskx_pipeline.detection.of_run import DetectorOfRun
from maskx_pipeline.engine.checkpoint import load_weights, save_weights
from maskx_pipeline.errors import MachineError, RunError, WeightsError


@pytest.mark.parametrize(("pooling", "channels"), [(ASSIGNED, 16), (FINEST_AND_ASSIGNED, 32)])
def test_it_is_the_detector_that_would_be_built(trained: Path, pooling: str, channels: int) -> None:
    """All that a cache is compared by, and what it finds in an image."""
    known = DetectorOfRun(trained, checkpoint="best", device="cpu", amp="off", pooling=pooling)
    built = load.load_detector(trained).frozen(device=torch.device("cpu"), amp="off", pooling=pooling)
    assert known.categories == built.categories == CATEGORIES
    assert known.identity == built.identity
    assert known.channels == built.channels == channels
    assert known.detections_per_image == built.detections_per_image
    assert torch.equal(known.class_weights.w_cls, built.class_weights.w_cls)
    image = torch.rand(3, 64, 90, generator=torch.Generator().manual_seed(0))
    box = torch.tensor([[3.0, 4.0, 40.0, 50.0]])
    assert torch.equal(known.extract(image).pool(box, 7), built.extract(image).pool(box, 7))


def test_nothing_is_built_before_it_looks(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a finished export needs no torchvision."""
    monkeypatch.setattr(load, "build_detector", lambda **_: pytest.fail("built"))
    known = DetectorOfRun(trained, checkpoint="last", device="cpu", amp="off")
    assert len(known.identity) == 64


def test_what_a_built_one_refuses_is_refused(trained: Path, tmp_path: Path) -> None:
    """Other weights than the run wrote, damaged ones, none, and a precision that there is not on a CPU."""
    folder = tmp_path / "detector"
    shutil.copytree(trained, folder)
    with pytest.raises(MachineError, match="fp16"):
        DetectorOfRun(folder, checkpoint="best", device="cpu", amp="fp16")
    weights = load_weights(folder / "last.safetensors")
    bias = next(name for name in weights if name.endswith("bias"))
    save_weights(folder / "best.safetensors", {**weights, bias: weights[bias] + 1}, {})
    with pytest.raises(WeightsError, match="not the file that its run wrote"):
        DetectorOfRun(folder, checkpoint="best", device="cpu", amp="off")
    (folder / "best.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        DetectorOfRun(folder, checkpoint="best", device="cpu", amp="off")
    for path in folder.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(RunError, match="no weights yet"):
        DetectorOfRun(folder, checkpoint="best", device="cpu", amp="off")
