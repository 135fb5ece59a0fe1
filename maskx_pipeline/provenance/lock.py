"""A folder that only one process at a time writes to.

The lock is advisory (flock) and on the folder itself: no lock file lies among the results, and none is left behind when
a process is killed. A network disk (NFS) locks only files that are open for writing: there it is on a hidden file in
the folder, and known to all machines. Where the file system has no locks, there is none.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from maskx_pipeline.errors import RunError

_FILE = ".lock.tmp"  # named as the temporary files that nobody minds in a run folder

_descriptors: dict[Path, int] = {}  # of the folders that this process holds


def lock_folder(folder: Path) -> None:
    """Keep other processes from locking the folder, until :func:`unlock_folder` or the end of this process.

    Locking a folder again that this process holds is no error.

    Raises:
        RunError: Another process holds it.
    """
    unlock_folder(folder)
    for path, flags in ((folder, os.O_RDONLY), (folder / _FILE, os.O_RDWR | os.O_CREAT)):
        descriptor = os.open(path, flags)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise RunError(
                f"{folder} is being written by another process.",
                "wait for it and give the same command again, or give another folder with --out or --name",
            ) from error
        except OSError:  # a file system that locks no folders, or nothing at all
            os.close(descriptor)
        else:
            _descriptors[folder.resolve()] = descriptor
            return
    (folder / _FILE).unlink()


def unlock_folder(folder: Path) -> None:
    """Let others lock the folder; no error if this process does not hold it."""
    descriptor = _descriptors.pop(folder.resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def _forget() -> None:
    """In a forked process, such as one that reads images: it must not keep the lock of a parent that was killed."""
    for descriptor in _descriptors.values():
        os.close(descriptor)
    _descriptors.clear()


os.register_at_fork(after_in_child=_forget)
