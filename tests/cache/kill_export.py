"""Run by test_export.py in a process of its own: kill exports at every point, resume them, compare with a whole one.

Each export runs in a forked child, which sends itself SIGKILL when it comes to the n-th call of what changes a file.
It may be by several processes (their work one after the other in that child), and each time by another number.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cache_fakes
import h5py
import torch

from maskx_pipeline.cache.writer import RoICacheWriter


def arm(deadline: int) -> None:
    """Kill this process just before the ``deadline``-th call."""
    calls = 0

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == deadline:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    os.fsync = lambda descriptor: None  # a killed process loses nothing that it gave to the kernel
    for owner, name in (
        (os, "pwrite"), (os, "ftruncate"), (os, "fsync"), (os, "replace"), (os, "unlink"), (h5py.File, "flush"),
        (h5py.File, "close"), (RoICacheWriter, "append"), (cache_fakes.FakeFrozen, "extract"),
    ):  # fmt: skip
        setattr(owner, name, guarded(getattr(owner, name)))


def in_child(work: Callable[[], Any]) -> tuple[int, bool]:
    """Start ``work`` in a child; returns its process id in the parent."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def wait(child: int) -> bool:
    """Whether the child was killed; False if it succeeded."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise SystemExit(f"an export failed: {status}")
    return False


def main(folder: Path, stride: int, settings: dict[str, Any], processes: list[int]) -> None:
    """Kill at every ``stride``-th call; the first export is by ``processes[0]``, the next by ``[1]``, and so round."""
    torch.set_num_threads(1)
    train, val = cache_fakes.make_train(folder, 4), cache_fakes.make_val(folder, 2)

    def run(name: str, deadline: int = 0, attempt: int = 0) -> Callable[[], None]:
        def work() -> None:
            arm(deadline)
            by = processes[attempt % len(processes)] if name != "whole" else 1
            cache_fakes.export_by(by, folder / name / "cache.h5", train, val, **settings)

        return work

    def check(name: str) -> None:
        left = sorted(path.name for path in (folder / name).iterdir() if path.name.count("lock") == 0)
        parts = [path for path in left if path != "cache.h5" and not (several and path.endswith(".h5"))]
        if parts or cache_fakes.contents(folder / name / "cache.h5") != whole:
            raise SystemExit(f"{name}: the resumed export differs; files: {left}")

    several = max(processes) > 1

    started = time.monotonic()
    wait(in_child(run("whole")))
    seconds = time.monotonic() - started
    whole = cache_fakes.contents(folder / "whole" / "cache.h5")
    deadline = 1
    while wait(in_child(run(f"at-{deadline}", deadline))):
        if several:
            wait(in_child(run(f"at-{deadline}", 1 + 7 * deadline % 150, 1)))
        wait(in_child(run(f"at-{deadline}", 0, 2 if several else 0)))
        check(f"at-{deadline}")
        deadline += stride
    attempts = 1
    most = 150 if several else 40  # a change of structure is 30
    while wait(in_child(run("often", most, attempts))):  # dies again and again, always further on
        attempts += 1
    check("often")
    for trial in range(12 // stride):  # and in the midst of whatever HDF5 is doing
        child = in_child(run(f"random-{trial}"))
        time.sleep(random.Random(trial).uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        if wait(child):
            wait(in_child(run(f"random-{trial}", 0, 1)))
        check(f"random-{trial}")
    print(f"{deadline // stride} points, {attempts} attempts")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4]))
