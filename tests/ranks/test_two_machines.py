"""Several machines, as far as one can be two: an agent of torchrun for each, which meet on the loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ranks_world import TORCHRUN, contents, environment, maskx

pytestmark = pytest.mark.slow


def test_two_agents_that_meet_on_the_network_do_what_one_process_does(project: Path) -> None:
    """Each has one process; one of the two writes, and only that one prints."""
    words = ("evaluate", "--from", "images", "--split", "all", "--json")
    folder = project / "runs/transfer/one/evaluation/images-best"
    alone = maskx(project, *words)
    expected = contents(folder, "results.json", "box-iou.json", "ap-all.json")
    for path in folder.iterdir():
        path.unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "1")
    start = [sys.executable, *TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", *where, "-m", "maskx_pipeline"]
    agents = [
        subprocess.Popen(
            [*start, *words], cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [agent.communicate(timeout=240) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    assert sorted(output for output, _ in said) == ["", alone.stdout]
    assert contents(folder, "results.json", "box-iou.json", "ap-all.json") == expected
