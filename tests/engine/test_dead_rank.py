"""A process of several that is killed: the others end with a known error, and soon."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import astuple
from pathlib import Path

import pytest
from faults_world import Zygote

_PROGRAM = Path(__file__).with_name("tiny_training.py")
_MAIN = """
import signal, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from tiny_training import train
from maskx_pipeline import commands

def command(*arguments, **options):
    train(Path({run!r}), kill_at=33, number=signal.SIGKILL, rank={rank})

commands.cli.main = command
sys.argv = ["maskx", "run"]  # one that processes share
commands.main()
"""


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_the_others_say_that_one_has_ended(rank: int, tmp_path: Path, zygote: Zygote) -> None:
    """Whichever it is, the main one or another; the run goes on from its last state."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = _MAIN.format(folder=str(_PROGRAM.parent), run=str(tmp_path / "run"), rank=rank)
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        zygote.python("-c", program, environment={**common, "RANK": number, "LOCAL_RANK": number}) for number in "01"
    ]
    assert processes[rank].wait(120).code == -signal.SIGKILL
    began = time.monotonic()
    code, said = astuple(processes[1 - rank].wait(60))
    assert time.monotonic() - began < 60
    assert code == 1, said
    assert f"another of the 2 processes has ended, so this one ({1 - rank}) ends." in said
    assert "Traceback" not in said
    assert (tmp_path / "run" / "state.pt").exists()
