"""The script of the quickstart, with few images and steps: interrupted, and then to its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FEW = {
    "MASKX_SHAPES_TRAIN_COUNT": "60",
    "MASKX_SHAPES_VAL_COUNT": "20",
    "MASKX_DETECT_ITERATIONS": "60",
    "MASKX_DETECT_STEPS": "40",
    "MASKX_DETECT_WARMUP_ITERATIONS": "2",
    "MASKX_FIT_TRANSFER_EPOCHS": "1",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".venv/bin/maskx").exists(), reason="the script would install into .venv"),
]


def _start(project: Path, log: Path, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(ROOT / "pipelines" / "quickstart.sh"), str(project)],
        env={**os.environ, **FEW, **settings},
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where the tests run in the background
    )


def _wait_for(words: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and words in log.read_text()):
        time.sleep(0.2)


def test_quickstart_goes_on_after_ctrl_c_and_ends_with_its_table(tmp_path: Path) -> None:
    """What the detector had learnt is saved by Ctrl-C, said once, and by two processes as the script has it."""
    project, log = tmp_path / "project", tmp_path / "log.txt"
    begun = _start(project, log)
    _wait_for('"loss"', project / "runs/detector/metrics.jsonl")  # of step 20
    os.killpg(begun.pid, signal.SIGINT)
    begun.communicate(timeout=120)
    said = log.read_text()
    assert begun.returncode == 130, said
    assert said.count("Interrupted. Training and export continue") == 1
    assert "Traceback" not in said
    assert (project / "runs/detector/state.pt").exists()

    printed, _ = _start(project, log).communicate(timeout=600)
    said = log.read_text()
    assert "runs/detector: resuming at step" in said
    assert json.loads((project / "runs/detector/run.json").read_text())["processes"] == 2
    first = [line.split(" ")[0] for line in printed.splitlines()]
    rows = [word for word in first if word in ("agnostic", "published", "ours", "the")]
    assert rows == ["agnostic", "published", "ours", "the", "the"]
    assert (project / "comparison.md").exists()
    assert (project / "report.html").exists()
    assert len(list((project / "predictions").glob("*.jpg"))) == 16

    shutil.rmtree(project / "runs/transfer")
    logs = [project / "logs" / f"fit-{name}.txt" for name in ("ours", "published", "agnostic")]
    for each in logs:
        each.unlink()
    begun = _start(project, log, MASKX_FIT_TRANSFER_EPOCHS="3000")
    for each in logs:
        _wait_for("steps.", each)
    begun.terminate()  # the script alone, which hands it on to the three fits
    begun.communicate(timeout=60)
    assert begun.returncode == 143, log.read_text()
    for each in logs:
        assert "Interrupted" in each.read_text(), each.read_text()
