"""Files that find no room: the disk is full, a quota is used up, or a file may not become so large."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from maskx_pipeline.errors import MachineError, MaskXError
from maskx_pipeline.text import format_bytes

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_TORCH = ("PytorchStreamWriter failed", "file write failed", "unexpected pos")


def no_room_error(path: Path, number: int, needed: int | None = None) -> MachineError:
    """That a file cannot be written for lack of room.

    Args:
        number: ENOSPC, EDQUOT or EFBIG.
        needed: Bytes that are wanted, if that is known.
    """
    said = {
        errno.EDQUOT: ["your quota on this disk is used up"],
        errno.EFBIG: ["a file may not be so large here (`ulimit -f`)", _limit()],
    }.get(number, ["the disk is full", f"{format_bytes(_free(path))} free"])
    said += [] if needed is None else [f"{format_bytes(needed)} needed"]
    make_room = "allow larger files with `ulimit -f`" if number == errno.EFBIG else "free some space"
    return MachineError(
        f"{path} cannot be written: {', '.join(filter(None, said))}.",
        f"{make_room}, then give the same command again: what is whole is kept",
    )


@contextlib.contextmanager
def writing(path: Path, *, needed: int | None = None) -> Iterator[None]:
    """Say of an error in the block, if it is for lack of room, which file that concerns.

    Raises:
        MachineError: There was no room.
    """
    try:
        yield
    except MaskXError:
        raise
    except Exception as error:
        number = no_room(error)
        if number is None:
            raise
        raise no_room_error(path, number, needed) from error


def no_room(error: BaseException) -> int | None:
    """ENOSPC, EDQUOT or EFBIG if that is what the error says, in whatever library's words; None for another error."""
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return error.errno
    said = str(error)
    for number in _NUMBERS:
        if os.strerror(number).lower() in said.lower():
            return number
    if isinstance(error, RuntimeError) and any(text in said for text in _OF_TORCH):
        cause = error.__context__  # torch hides the reason, but for where Python wrote for it
        return errno.ENOSPC if cause is None else no_room(cause)
    return None


def reserve(descriptor: int, start: int, length: int) -> None:
    """Make sure that bytes of an open file can be written, without changing those that are there.

    Raises:
        OSError: There is no room.
    """
    if length <= 0:
        return
    try:
        os.posix_fallocate(descriptor, start, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise
        found = os.fstatvfs(descriptor)  # of a file system that reserves nothing
        if found.f_bavail * found.f_frsize < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def check_room(path: Path, *, written: int, size: int) -> None:
    """Try on an empty file what HDF5 will do with it, since HDF5 crashes where that fails.

    Raises:
        OSError: There is no room.
    """
    with path.open("wb") as stream:
        reserve(stream.fileno(), 0, written)
        stream.truncate(size)


def _limit() -> str:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return "" if most == resource.RLIM_INFINITY else f"{format_bytes(most)} allowed"


def _free(path: Path) -> int:
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free
