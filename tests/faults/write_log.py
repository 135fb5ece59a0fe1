"""What a process does to the files of a folder, call by call, through a library that is preloaded into it."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("write_log.c")
_HEAD = struct.Struct("<cQqQQQ")


class Call(NamedTuple):
    """A call that changed something.

    Attributes:
        kind: c(reate), m(ake folder), w(rite), t(runcate), r(ename), u(nlink), s(ync a file), d (sync a folder), x (a
            mark of the program itself).
        node: The inode.
        number: Where was written, the size to truncate to, or the number of the mark.
    """

    kind: str
    node: int
    number: int
    path: str
    to: str
    data: bytes


def can_build() -> bool:
    """Whether there is a C compiler."""
    return shutil.which("gcc") is not None


def run_logged(folder: Path, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this folder with the library preloaded; ``folder`` is for the library."""
    library = folder / "write_log.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl", "-lpthread"], check=True)
    paths = [str(place) for place in (program.parents[2], program.parents[1], *program.parents[1].iterdir())]
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), *paths]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run([sys.executable, program, *arguments], env=environment, capture_output=True, text=True)


def begin(folder: Path, *, log: int = -1, deadline: int = 0) -> None:
    """From now on, log what happens below a folder, and die just before the ``deadline``-th call."""
    library = ctypes.CDLL(None)
    library.faults_begin(str(folder.resolve()).encode(), log, ctypes.c_long(deadline))


def mark(number: int) -> None:
    """Note that the program has come to a point."""
    ctypes.CDLL(None).faults_mark(ctypes.c_long(number))


def end() -> int:
    """Stop; returns how many calls there were."""
    library = ctypes.CDLL(None)
    library.faults_end.restype = ctypes.c_long
    return int(library.faults_end())


def read_log(content: bytes) -> Iterator[Call]:
    """The calls, in their order."""
    place = 0
    while place < len(content):
        kind, node, number, *lengths = _HEAD.unpack_from(content, place)
        place += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(content[place : place + length])
            place += length
        yield Call(kind.decode(), node, number, os.fsdecode(parts[0]), os.fsdecode(parts[1]), parts[2])
