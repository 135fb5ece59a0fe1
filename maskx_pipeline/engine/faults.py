"""What goes wrong outside of this process: others are killed, no more files may be opened, disks are full."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from maskx_pipeline.engine import distributed
from maskx_pipeline.errors import MachineError
from maskx_pipeline.provenance.room import no_room, no_room_error

FEWER_WORKERS = "give --workers 0, or fewer --workers"
_AGAIN = "give the same command again: it goes on from what was saved"

_WORKER = re.compile(r"DataLoader worker \(pid.*?\) (?:is killed by signal: (.+?)\.|exited unexpectedly)")
_TOO_MANY = (os.strerror(errno.EMFILE), os.strerror(errno.ENFILE), "items of ancdata")
_OF_PROCESSES = ("gloo", "Connection closed by peer", "NCCL", "TCPStore", "torch.distributed")


def known_fault(error: BaseException) -> MachineError | None:
    """The known error behind one of Python, torch or HDF5; None where it is another, and that is a bug."""
    if found := _WORKER.search("\n".join(_said(error))):
        return worker_killed(found[1] or "")
    if is_too_many_files(error):
        return too_many_files()
    if distributed.world_size() > 1 and _is_of_processes(error):
        return MachineError(
            f"another of the {distributed.world_size()} processes has ended, so this one ({distributed.rank()}) ends.",
            f"look for what it said, then {_AGAIN}",
        )
    number = no_room(error)
    if number is not None:
        name = getattr(error, "filename", None)
        return no_room_error(Path(os.fsdecode(name) if name else "an output"), number)
    return None


def _said(error: BaseException) -> Iterator[str]:
    """What an error says, and then those in whose handling it was raised, as a signal's in the midst of writing."""
    told: BaseException | None = error
    while told is not None:
        yield str(told)
        told = told.__cause__ or told.__context__


def worker_killed(by: str) -> MachineError:
    """A process that reads images is dead.

    Args:
        by: The signal in words; empty if that is not known.
    """
    if by.startswith("Bus error"):
        return shared_memory_full(by)
    return MachineError(
        f"a process that reads images was killed{f' ({by})' if by else ''}, perhaps for lack of memory.",
        f"{FEWER_WORKERS}; then {_AGAIN}",
    )


def shared_memory_full(said: str) -> MachineError:
    """What the processes that read images hand over finds no room."""
    return MachineError(
        f"the shared memory (/dev/shm) is full: {said}.",
        "give --workers 0, fewer --images-per-batch, or more shared memory: docker run --shm-size 1g",
    )


def is_too_many_files(error: BaseException) -> bool:
    """Whether no more files could be opened, in whatever library's words."""
    return getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE) or any(t in str(error) for t in _TOO_MANY)


def too_many_files() -> MachineError:
    """This process may not open more files."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MachineError(
        f"too many files are open: a process may have {most} here.",
        f"allow more with `ulimit -n 4096`, or {FEWER_WORKERS}",
    )


def _is_of_processes(error: BaseException) -> bool:
    of_torch = isinstance(error, RuntimeError)  # DistBackendError and its like are too
    return isinstance(error, ConnectionError) or (of_torch and any(text in str(error) for text in _OF_PROCESSES))
