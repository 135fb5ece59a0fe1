"""What several processes measure while they train, and a fit by them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ranks_world import TORCHRUN, environment, maskx, side_by_side

from maskx_pipeline.provenance.seals import value_of

pytestmark = pytest.mark.slow

MEASURES = """
import json, sys, torch
from pathlib import Path
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.detection.load import load_detector
from maskx_pipeline.engine import distributed
from maskx_pipeline.evaluation.detector_ap import box_ap
from maskx_pipeline.evaluation.quick import quick_metrics
from maskx_pipeline.transfer.load import load_mask_model

torch.set_num_threads(1)
distributed.start()
where = {"device": torch.device("cpu"), "amp_dtype": None}
val = read_coco(Path("data/shapes/val.json"), Path("data/shapes/val"))
fitted = load_mask_model(Path("runs/transfer/one"))
with torch.no_grad(), RoICache(Path("runs/cache.h5")) as cache:
    found = {
        "detector": box_ap(load_detector(Path("runs/detector")).model, val, **where),
        "fit": quick_metrics(fitted.mask_model, cache, val, seen=fitted.seen),
    }
print(json.dumps(found), file=sys.stderr)
"""


def test_what_is_measured_in_training_is_what_one_process_measures(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last digit, and all processes get it."""
    monkeypatch.chdir(project)
    (alone,) = side_by_side([sys.executable, "-c", MEASURES], processes=1)
    together = side_by_side([sys.executable, "-c", MEASURES], processes=2)
    expected = json.loads(alone.splitlines()[-1])
    assert expected["fit"]["seen_mask_iou"] > 0
    for text in together:
        assert repr(json.loads(text.splitlines()[-1])) == repr(expected)


def _metrics(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.jsonl").open("rb") as stream:
        return [value_of(line) for line in stream]


def test_joint_training_measures_by_all_processes(project: Path) -> None:
    """What is in its metrics is what one process measures of the weights that were saved."""
    maskx(project, "e2e", "--init", "runs/detector", "--embedding", "cls", "--name", "two", "--amp", "off", processes=2)
    measured = [line for line in _metrics(project / "runs/e2e/two") if "box_ap" in line][-1]
    done = maskx(project, "evaluate", "--model", "runs/e2e/two", "--checkpoint", "last", "--split", "all", "--json")
    assert json.loads(done.stdout)["sets"]["all"]["box"]["AP"] == pytest.approx(measured["box_ap"], abs=1e-3)


def test_a_fit_that_was_killed_goes_on_by_another_number_of_processes(project: Path) -> None:
    """It ends with the metrics of a fit that one process made at once."""
    words = ("fit-transfer", "--amp", "off", "--epochs", "20", "--checkpoint-every", "5", "--seed", "1", "--name")
    maskx(project, *words, "alone")
    start = [sys.executable, *TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "maskx_pipeline"]
    process = subprocess.Popen([*start, *words, "moved"], cwd=project, env=environment(), stderr=subprocess.PIPE)
    state = project / "runs/transfer/moved/state.pt"
    until = time.monotonic() + 120
    while not state.exists() and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    before = json.loads((project / "runs/transfer/moved/run.json").read_text())
    assert before["status"] != "finished"
    said = maskx(project, *words, "moved", processes=3).stderr
    assert "resuming at step" in said
    alone, moved = (_metrics(project / "runs/transfer" / name) for name in ("alone", "moved"))
    assert [line["step"] for line in alone] == [line["step"] for line in moved]
    for one, other in zip(alone, moved, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-3)
    shutil.rmtree(project / "runs/transfer/moved")


@pytest.mark.parametrize("command", ["evaluate", "fit-transfer"])
def test_a_killed_process_ends_the_others_within_seconds(command: str, project: Path) -> None:
    """Without torchrun to end them, as between machines: it is a known error, and what was saved stays good."""
    program = f"""
import os, signal
from maskx_pipeline import commands
from maskx_pipeline.engine import distributed, sharing, loop

def dying(function):
    def call(*arguments, **options):
        if distributed.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

sharing._send_all = dying(sharing._send_all)
commands.run(["{command}"]) and os._exit(1)
"""
    began = time.monotonic()
    here = Path.cwd()
    os.chdir(project)
    try:
        said = side_by_side([sys.executable, "-c", program], processes=2, codes=[1, -signal.SIGKILL])
    finally:
        os.chdir(here)
    assert time.monotonic() - began < 60
    assert "another of the 2 processes has ended, so this one (0) ends." in said[0]
    assert "Traceback" not in said[0]
    maskx(project, command)
