"""Commands by several processes, as torchrun starts them, beside the same by one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

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
    command: Sequence[str], *, processes: int, timeout: float = 120, codes: Sequence[int] | None = None
) -> list[str]:
    """Run a program in several processes that find each other, without torchrun to end them.

    Args:
        codes: What each must end with; 0 if not given.

    Returns:
        What each wrote to stderr.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**environment(), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(processes)
    ]
    said = [process.communicate(timeout=timeout)[1] for process in started]
    assert [process.returncode for process in started] == list(codes or [0] * processes), said
    return said


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    """The files of a folder, or these of them."""
    paths = [folder / name for name in names] if names else [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
