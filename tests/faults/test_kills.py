"""A stage that is killed at a call that changes a file goes on when the same command is given again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import write_log

_PROGRAM = Path(__file__).with_name("kill_stages.py")

needs_compiler = pytest.mark.skipif(not write_log.can_build(), reason="no C compiler to build the library with")


def _kill(folder: Path, kills: int, *stages: str) -> dict[str, dict[str, Any]]:
    done = write_log.run_logged(folder, _PROGRAM, str(folder), str(kills), *stages)
    assert done.returncode == 0, done.stderr
    counts: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    print(counts)  # noqa: T201
    for stage, found in counts.items():
        assert found["killed"] == (kills or found["calls"]), stage
        assert "lost" not in found, found["first"]
    return counts


@needs_compiler
def test_what_generates_the_data_goes_on_after_a_kill(tmp_path: Path) -> None:
    """The smallest stage, at three of its calls."""
    _kill(tmp_path, 3, "init")


@needs_compiler
@pytest.mark.slow
def test_each_stage_goes_on_after_twenty_kills(tmp_path: Path) -> None:
    """With the same files in the end, none left over, and all of them on the disk."""
    counts = _kill(tmp_path, 20)
    assert len(counts) == 12


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("stage", ["evaluate", "convert teacher"])
def test_a_stage_goes_on_after_a_kill_at_any_of_its_calls(tmp_path: Path, stage: str) -> None:
    """Every write, truncation, sync, renaming and removal, one after the other."""
    _kill(tmp_path, 0, stage)
