"""An output that only one process at a time writes to: a run folder, a file, a folder of files.

The lock is advisory (flock), on a hidden file in the folder or beside the file, which says who holds it and is removed
when the work ends. A killed process leaves that file and no lock: the next one takes it over. It works between machines
on a network disk (NFS) that has locks. Where the file system has none, there is none.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from maskx_pipeline.errors import OutputError, RunError
from maskx_pipeline.provenance.files import make_folder, remove_temporaries

_FILE = ".lock.tmp"  # named as the temporary files that nobody minds in a run folder

_descriptors: dict[Path, int] = {}  # of the lock files that this process holds


def lock_folder(folder: Path) -> None:
    """Keep other processes from locking the folder, until :func:`unlock_folder` or the end of this process.

    Locking a folder again that this process holds is no error.

    Raises:
        RunError: Another process holds it.
    """
    unlock_folder(folder)
    if not _acquire(folder / _FILE):
        raise RunError(
            f"{folder} is being written by another process{holder(folder / _FILE)}.",
            "wait for it and give the same command again, or give another folder with --out or --name",
        )
    remove_temporaries(folder)


def unlock_folder(folder: Path) -> None:
    """Let others lock the folder; no error if this process does not hold it."""
    _release(folder / _FILE)


@contextlib.contextmanager
def locked(out: Path, *, folder: bool = False) -> Iterator[None]:
    """Keep other processes from writing an output while the block runs, and remove what killed ones left of theirs.

    Args:
        folder: It is a folder of files. Folders that are missing are made, and removed if they stay empty.

    Raises:
        OutputError: Another process is writing it.
    """
    place = out if folder else out.parent
    missing = [path for path in (place, *place.parents) if not path.exists()]
    make_folder(place)
    lock = out / _FILE if folder else out.with_name(f".{out.name}{_FILE}")
    if lock.resolve() in _descriptors:  # by this process, around this block
        yield
        return
    if not _acquire(lock):
        raise OutputError(
            f"{out} is being written by another process{holder(lock)}.",
            "wait for it and give the same command again, or give another place with --out",
        )
    try:
        remove_temporaries(out) if folder else remove_temporaries(out.parent, out.name)
        yield
    finally:
        _release(lock)
        for path in missing:
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()


def holder(lock: Path) -> str:
    """Who holds a lock, as far as the lock file says it: `` (process 12 on host, since ...)``."""
    try:
        found = json.loads(lock.read_text(encoding="utf-8"))
        return f" (process {int(found['pid'])} on {found['host']}, since {found['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _acquire(lock: Path) -> bool:
    """Take a lock; False if another process holds it. True too where there are no locks."""
    while True:
        try:
            descriptor = _open(lock)
        except OSError:  # a folder that is only read: whoever wants to write there will be told
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:  # a file system without locks
            os.close(descriptor)
            with contextlib.suppress(OSError):
                lock.unlink()
            return True
        if _is_still(lock, descriptor):
            break
        os.close(descriptor)  # who held it has removed the file meanwhile
    _descriptors[lock.resolve()] = descriptor
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    with contextlib.suppress(OSError):  # such as a full disk: the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(
            descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode(), 0
        )
    return True


def _open(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(lock, os.O_RDONLY)  # another user's: it can be locked all the same


def _is_still(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _release(lock: Path) -> None:
    descriptor = _descriptors.pop(lock.resolve(), None)
    if descriptor is not None:
        try:
            if _is_still(lock, descriptor):
                with contextlib.suppress(OSError):
                    lock.unlink()
        finally:
            os.close(descriptor)


def _forget() -> None:
    """In a forked process, such as one that reads images: it must not keep the lock of a parent that was killed."""
    for descriptor in _descriptors.values():
        os.close(descriptor)
    _descriptors.clear()


os.register_at_fork(after_in_child=_forget)
