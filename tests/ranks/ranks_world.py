"""Commands by several processes, as torchrun starts them, beside the same by one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from faults_world import Zygote

CHECKOUT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run")


def environment() -> dict[str, str]:
    """With the package of this checkout, and one thread for each process, as torchrun gives them."""
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def maskx(folder: Path, *words: str, processes: int = 1, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in a project folder, by one process or under torchrun.

    Args:
        code: What it must end with; None: anything but success.
    """
    start = (*TORCHRUN, "--standalone", "--nproc-per-node", str(processes)) if processes > 1 else ()
    done = subprocess.run(
        [sys.executable, *start, "-m", "maskx_pipeline", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == code if code is not None else done.returncode != 0, done.stdout + done.stderr
    return done


def side_by_side(
    command: Sequence[str],
    *,
    processes: int,
    timeout: float = 120,
    codes: Sequence[int] | None = None,
    zygote: Zygote | None = None,
) -> list[str]:
    """Run a program in several processes that find each other, without torchrun to end them.

    Args:
        codes: What each must end with; 0 if not given.
        zygote: Starts them, if it is given, in the time of a fork.

    Returns:
        What each wrote to stderr; with a zygote, to stdout too.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**environment(), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    if zygote is not None:
        forked = [zygote.python(*command[1:], environment=rank) for rank in ranks]
        ended = [process.wait(timeout) for process in forked]
        assert [one.code for one in ended] == list(codes or [0] * processes), ended
        return [one.said for one in ended]
    started = [subprocess.Popen(command, env=rank, stderr=subprocess.PIPE, text=True) for rank in ranks]
    said = [process.communicate(timeout=timeout)[1] for process in started]
    assert [process.returncode for process in started] == list(codes or [0] * processes), said
    return said


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    """The files of a folder, or these of them."""
    paths = [folder / name for name in names] if names else [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
