"""An export that several processes began and another number goes on with, as torchrun starts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cache_fakes import contents
from ranks_world import TORCHRUN, environment, maskx

pytestmark = pytest.mark.slow

WORDS = ("export-embeddings", "--flush-every", "1")


@pytest.fixture
def whole(project: Path) -> Path:
    """What one process wrote; there is no other cache."""
    return Path(shutil.move(project / "runs/cache.h5", project / "whole.h5"))


@pytest.mark.parametrize(("began", "then"), [(1, 2), (2, 1), (2, 3)])
def test_an_export_that_stopped_goes_on_by_another_number(began: int, then: int, project: Path, whole: Path) -> None:
    """One image cannot be read at first; what was committed is not done again."""
    image = sorted((project / "data/shapes/val").iterdir())[-2]
    content = image.read_bytes()
    image.write_bytes(content[:100])
    maskx(project, *WORDS, processes=began, code=None)
    assert list((project / "runs").glob("cache*.partial"))
    image.write_bytes(content)
    said = maskx(project, *WORDS, processes=then).stderr
    assert "images were done before" in said or "resuming after" in said
    assert contents(project / "runs/cache.h5") == contents(whole)
    assert not list((project / "runs").glob("cache*.partial*"))
    assert "finished and unchanged" in maskx(project, *WORDS).stderr


@pytest.mark.parametrize("then", [1, 3])
def test_an_export_that_was_killed_goes_on_by_another_number(then: int, project: Path, whole: Path) -> None:
    """Both processes, with torchrun, as soon as each has begun its shard."""
    start = [sys.executable, *TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "maskx_pipeline"]
    process = subprocess.Popen(
        [*start, *WORDS], cwd=project, env=environment(), stderr=subprocess.DEVNULL, process_group=0
    )
    until = time.monotonic() + 120
    while len(list((project / "runs").glob("cache*.partial"))) < 2 and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert not (project / "runs/cache.h5").exists()
    maskx(project, *WORDS, processes=then)
    assert contents(project / "runs/cache.h5") == contents(whole)
