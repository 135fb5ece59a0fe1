"""SIGTERM ends every stage within seconds with exit code 143, SIGINT with 130, at any time; then it goes on."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from faults_world import STAGES, Zygote, copy_for

SECONDS = 5.0
TRIALS = 20  # for each signal


def _hit(stage: str, number: int, after: float, zygote: Zygote, project: Path, copy: Path) -> str:
    """``signalled``, or ``done`` where the command was faster."""
    words = copy_for(stage, project, copy)
    started = zygote.start(copy, *words)
    time.sleep(after)
    sent = time.monotonic()
    os.kill(started.process, number)
    ended = started.wait(60)
    took = time.monotonic() - sent
    assert "Traceback" not in ended.said, ended.said
    if ended.code == 0:
        return "done"
    assert ended.code == 128 + number, (after, ended)
    assert took < SECONDS, (after, took)
    return "signalled"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["detect train", "export-embeddings"])
def test_a_signal_ends_a_stage(stage: str, number: int, zygote: Zygote, project: Path, tmp_path: Path) -> None:
    """While it opens its inputs or is at work; the same command finishes it."""
    _hit(stage, number, 0.7, zygote, project, tmp_path / "copy")
    again = zygote.run(tmp_path / "copy", *stage.split(), seconds=120)
    assert again.code == 0, again


@pytest.mark.slow
@pytest.mark.parametrize("stage", list(STAGES))
def test_a_signal_at_any_time(stage: str, zygote: Zygote, project: Path, tmp_path: Path) -> None:
    """At random times of a whole run."""
    copy = tmp_path / "copy"
    words = copy_for(stage, project, copy)
    began = time.monotonic()
    assert zygote.run(copy, *words, seconds=600).code == 0
    seconds = time.monotonic() - began
    counts = {"signalled": 0, "done": 0}
    for number in (signal.SIGTERM, signal.SIGINT):
        for trial in range(TRIALS):
            after = random.Random(f"{stage} {number} {trial}").uniform(0.2, seconds)
            counts[_hit(stage, number, after, zygote, project, copy)] += 1
    print(f"{stage}: {counts['signalled']} signals ended it, {counts['done']} came too late")  # noqa: T201
    assert counts["signalled"]
