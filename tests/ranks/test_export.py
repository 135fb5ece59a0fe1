"""An export that several processes began and another number goes on with, as torchrun starts them."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest
from cache_fakes import contents
from ranks_world import maskx, side_by_side

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


KILLED = """
import os, signal
from maskx_pipeline import commands
from maskx_pipeline.cache.writer import RoICacheWriter

real, calls = RoICacheWriter._sync, []

def sync(self):
    calls.append(self)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(self)

RoICacheWriter._sync = sync
commands.run({words})
"""


@pytest.mark.parametrize(("call", "then"), [(5, 1), (6, 3)])
def test_an_export_that_was_killed_goes_on_by_another_number(
    call: int, then: int, project: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, each in its third commit: before the rows are on the disk, and before the counter is."""
    monkeypatch.chdir(project)
    program = KILLED.format(call=call, words=list(WORDS))
    side_by_side([sys.executable, "-c", program], processes=2, codes=[-signal.SIGKILL] * 2)
    assert len(list((project / "runs").glob("cache*.partial"))) == 2
    said = maskx(project, *WORDS, processes=then).stderr
    assert " of 23 images were done before" in said
    assert contents(project / "runs/cache.h5") == contents(whole)
