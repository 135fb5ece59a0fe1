"""A run folder is written by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.engine.runlog import Run, open_run
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance import run_folder
from maskx_pipeline.provenance.files import is_temporary
from maskx_pipeline.provenance.lock import lock_folder
from maskx_pipeline.provenance.run_folder import RUN_FILE

_PROGRAM = Path(__file__).with_name("hold_run.py")
_REFUSED = "is being written by another process"


def _open(folder: Path, *, overwrite: bool = False, identity: dict[str, Any] | None = None) -> Run:
    return open_run(folder, stage="detect", identity=identity or {}, config={}, inputs={}, overwrite=overwrite)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def _held_by_another(folder: Path) -> Iterator[None]:
    """As another process does: the lock belongs to who opened the folder, not to the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_free(folder: Path) -> bool:
    try:
        with _held_by_another(folder):
            return True
    except BlockingIOError:
        return False


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """Also with --overwrite, and with other settings before the first result; killed, nothing is left of the lock."""
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, str(_PROGRAM), str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    forked = int(holder.stdout.readline())
    try:
        before = _content(folder)
        assert set(before) == {RUN_FILE, "metrics.jsonl"}  # and no lock file
        for overwrite in (False, True):
            with pytest.raises(RunError, match=_REFUSED) as caught:
                _open(folder, overwrite=overwrite)
            assert "wait for it" in str(caught.value)
            assert "--out or --name" in str(caught.value)
        assert _content(folder) == before
        holder.kill()
        holder.wait()
        os.kill(forked, 0)  # still there, as a process that reads images may be for a while
        assert _open(folder).state == "resume"
    finally:
        holder.kill()
        os.kill(forked, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()


def test_a_run_without_results_is_not_replaced_while_it_is_written(tmp_path: Path) -> None:
    """Ended before its first result it would be, by one with other settings."""
    _open(tmp_path).close()
    with _held_by_another(tmp_path), pytest.raises(RunError, match=_REFUSED):
        _open(tmp_path, identity={"lr": 1})
    assert _open(tmp_path, identity={"lr": 1}).state == "new"


def test_one_process_may_open_a_run_again(tmp_path: Path) -> None:
    """Without closing it, say after an exception whose traceback is still kept; and the folder stays locked."""
    first = _open(tmp_path)
    second = _open(tmp_path)
    assert (first.state, second.state) == ("new", "resume")
    assert not _is_free(tmp_path)
    second.finish()
    assert _is_free(tmp_path)


def test_an_open_run_is_free_again_after_an_exception(tmp_path: Path) -> None:
    """Another process can go on while this one lives on, as a notebook does."""

    def fail() -> None:
        with _open(tmp_path):
            assert not _is_free(tmp_path)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert _is_free(tmp_path)


def test_a_run_that_cannot_be_opened_is_not_locked(tmp_path: Path) -> None:
    """It differs, or the folder is no run."""
    with _open(tmp_path) as run:
        run.log(1, loss=2.0)
    with pytest.raises(RunError, match="differs"):
        _open(tmp_path, identity={"lr": 1})
    assert _is_free(tmp_path)
    (tmp_path / RUN_FILE).unlink()
    with pytest.raises(RunError, match="no run"):
        _open(tmp_path, overwrite=True)
    assert _is_free(tmp_path)


def test_a_finished_run_needs_no_lock(tmp_path: Path) -> None:
    """Two may look at it at once; it is only not to be replaced under the eyes of who writes there."""
    _open(tmp_path).finish()
    with _held_by_another(tmp_path):
        assert _open(tmp_path).state == "finished"
        with pytest.raises(RunError, match=_REFUSED):
            _open(tmp_path, overwrite=True)
    _open(tmp_path)
    assert _is_free(tmp_path)


def test_what_another_process_finished_meanwhile_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking at run.json and getting the lock, the run may end."""
    run = _open(tmp_path)

    def lock_late(folder: Path) -> None:
        run.finish(ap=1.0)
        lock_folder(folder)

    monkeypatch.setattr(run_folder, "lock_folder", lock_late)
    again = _open(tmp_path)
    assert (again.state, again.content["results"]) == ("finished", {"ap": 1.0})
    assert _is_free(tmp_path)


def test_overwrite_removes_no_evaluation_that_is_being_written(tmp_path: Path) -> None:
    """A run may hold others, which other processes write."""
    _open(tmp_path).finish()
    inner = tmp_path / "evaluation" / "cache-best"
    _open(inner).close()
    before = _content(tmp_path)
    with _held_by_another(inner), pytest.raises(RunError, match="cache-best is being written"):
        _open(tmp_path, overwrite=True)
    assert _content(tmp_path) == before
    assert _is_free(tmp_path)
    assert _open(tmp_path, overwrite=True).state == "new"
    assert set(_content(tmp_path)) == {RUN_FILE}


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with _open(tmp_path) as run:
        run.finish()
    assert _open(tmp_path).state == "finished"


def test_where_folders_cannot_be_locked_a_hidden_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, where only what is open for writing can be; overwriting leaves that file alone."""
    flock = fcntl.flock

    def refuse_folders(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse_folders)
    with _open(tmp_path):
        (lock,) = (path for path in tmp_path.iterdir() if path.name != RUN_FILE)
        assert is_temporary(lock)
    descriptor = os.open(lock, os.O_RDWR)
    flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for overwrite in (False, True):
        with pytest.raises(RunError, match=_REFUSED):
            _open(tmp_path, overwrite=overwrite)
    os.close(descriptor)
    with _open(tmp_path, overwrite=True) as run:
        assert run.state == "new"
        assert lock.exists()
