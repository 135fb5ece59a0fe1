"""A run folder is written by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.engine.runlog import Run, open_run
from maskx_pipeline.errors import OutputError, RunError
from maskx_pipeline.provenance import run_folder
from maskx_pipeline.provenance.lock import lock_folder, locked
from maskx_pipeline.provenance.run_folder import RUN_FILE, read_run

_PROGRAM = Path(__file__).with_name("hold_run.py")
LOCK = ".lock.tmp"
_REFUSED = "is being written by another process"


def _open(folder: Path, *, overwrite: bool = False, identity: dict[str, Any] | None = None) -> Run:
    return open_run(folder, stage="detect", identity=identity or {}, config={}, inputs={}, overwrite=overwrite)


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def _held_by_another(folder: Path) -> Iterator[None]:
    """As another process does: the lock belongs to who opened the folder, not to the process."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT)
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
        assert set(before) == {RUN_FILE, "metrics.jsonl", LOCK}
        for overwrite in (False, True):
            with pytest.raises(RunError, match=_REFUSED) as caught:
                _open(folder, overwrite=overwrite)
            assert f"(process {holder.pid} on {socket.gethostname()}, since 2" in str(caught.value)
            assert "wait for it" in str(caught.value)
            assert "--out or --name" in str(caught.value)
        assert _content(folder) == before
        holder.kill()
        holder.wait()
        os.kill(forked, 0)  # still there, as a process that reads images may be for a while
        with _open(folder) as run:
            assert run.state == "resume"
        assert not (folder / LOCK).exists()
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
    with _held_by_another(inner):
        before = _content(tmp_path)
        with pytest.raises(RunError, match="cache-best is being written"):
            _open(tmp_path, overwrite=True)
        assert _content(tmp_path) == before
    assert _is_free(tmp_path)
    with _open(tmp_path, overwrite=True) as run:
        assert run.state == "new"
    assert set(_content(tmp_path)) - {LOCK} == {RUN_FILE}


def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with _open(tmp_path) as run:
        run.finish()
    assert _open(tmp_path).state == "finished"


def test_what_killed_processes_left_half_written_is_removed_by_who_gets_the_lock(tmp_path: Path) -> None:
    """And nothing else of the user's."""
    out = tmp_path / "out.json"
    for name in (".out.json.0123abcd.tmp", ".out.json.old.tmp", "out.json.tmp", ".other.json.0123abcd.tmp"):
        (tmp_path / name).write_text("half")
    with locked(out):
        assert {path.name for path in tmp_path.iterdir()} == {
            ".out.json.lock.tmp", ".out.json.old.tmp", "out.json.tmp", ".other.json.0123abcd.tmp",
        }  # fmt: skip
    (tmp_path / "run" / ".run.json.0123abcd.tmp").parent.mkdir()
    (tmp_path / "run" / ".run.json.0123abcd.tmp").write_text("half")
    (tmp_path / "run" / ".tmp5y83n2").write_text("what safetensors leaves")
    with _open(tmp_path / "run") as run:
        assert run.state == "new"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {RUN_FILE}


def test_the_second_of_two_writers_of_a_file_is_told_who_the_first_is(tmp_path: Path) -> None:
    """Pid, host and since when; afterwards the place is as if nothing had been there."""
    out, folder = tmp_path / "new" / "out.json", tmp_path / "folder"
    child = f"""
import sys
from pathlib import Path
from maskx_pipeline.errors import MaskXError
from maskx_pipeline.provenance.lock import locked
for path, folder in (({str(out)!r}, False), ({str(folder)!r}, True)):
    try:
        with locked(Path(path), folder=folder):
            print("taken")
    except MaskXError as error:
        print(error)
"""
    with locked(out), locked(folder, folder=True), locked(out):
        told = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
    for path in (out, folder):
        assert f"{path} is being written by another process (process {os.getpid()} on " in told
    assert "taken" not in told
    assert "--overwrite" not in told
    assert not out.parent.exists()
    assert not folder.exists()


def test_a_lock_that_was_removed_while_another_waited_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that it had opened is no longer the one that others look at."""
    out, flock = tmp_path / "out.json", fcntl.flock
    lock = tmp_path / f".out.json{LOCK}"

    def removed_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with locked(out), lock.open() as other, pytest.raises(BlockingIOError):
        flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_overwrite_keeps_what_no_run_writes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A person's notes, and files that other commands put there."""
    with _open(tmp_path) as run:
        run.log(1, loss=2.0)
    mine = ["notes.txt", "masks.json.partial", "masks.report.json", "evaluation/mine.csv"]
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    _open(tmp_path, overwrite=True).close()
    assert set(_content(tmp_path)) == {RUN_FILE, *mine}
    assert "notes.txt" in caplog.text


def test_a_removal_that_was_interrupted_goes_on_and_its_run_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far it came: before, half of a finished run was taken for a whole one."""
    with _open(tmp_path) as run:
        (tmp_path / "best.safetensors").write_text("weights")
        (tmp_path / "last.safetensors").write_text("weights")
        run.finish()

    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".safetensors":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        _open(tmp_path, overwrite=True)
    monkeypatch.undo()
    assert (tmp_path / "best.safetensors").exists()
    with pytest.raises(RunError, match="removal was interrupted"):
        read_run(tmp_path)
    with _open(tmp_path) as run:
        assert run.state == "new"
    assert set(_content(tmp_path)) == {RUN_FILE}


def test_a_folder_that_is_only_read_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished result there is looked at as ever; another user's lock is respected."""
    open_ = os.open

    def refuse(path: Any, flags: int, *mode: int) -> int:
        if Path(path).name.endswith(LOCK) and flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_(path, flags, *mode)

    out = tmp_path / "out.json"
    with locked(out):
        descriptor = open_(tmp_path / f".out.json{LOCK}", os.O_RDWR)
        holder = Path(f"/proc/self/fd/{descriptor}").read_text()
    monkeypatch.setattr(os, "open", refuse)
    with locked(out):
        assert list(tmp_path.iterdir()) == []
    (tmp_path / f".out.json{LOCK}").write_text(holder)
    other = open_(tmp_path / f".out.json{LOCK}", os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(OutputError, match=f"process {os.getpid()} on"), locked(out):
        pass
    os.close(other)
    os.close(descriptor)
