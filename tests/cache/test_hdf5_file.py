"""File systems without locks, and what is said of a file that cannot be opened."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path
from typing import Any

import cache_fakes
import h5py
import pytest

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import CacheError, MachineError, MaskXError
from maskx_pipeline.provenance.files import partial_path
from maskx_pipeline.provenance.lock import locked

_OPEN = h5py.File


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network disk whose lock service does not answer: flock fails, and so does HDF5 if it asks for a lock."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def open_file(name: Any, *args: Any, **options: Any) -> Any:
        if isinstance(name, str | Path) and options.get("locking") is not False:
            raise OSError(errno.ENOLCK, "unable to lock file, errno = 37, error message = 'No locks available'")
        return _OPEN(name, *args, **options)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(h5py, "File", open_file)


def test_a_cache_is_written_and_read_where_there_are_no_locks(
    tmp_path: Path, train: CocoData, val: CocoData, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same one; and begun anew with --overwrite."""
    out = cache_fakes.export(tmp_path / "a" / "cache.h5", train, val)
    with RoICache(out) as cache:
        assert len(cache.train) > 0
    cache_fakes.export(out, train, val, overwrite=True)
    monkeypatch.undo()
    with_locks = cache_fakes.export(tmp_path / "b" / "cache.h5", train, val)
    assert cache_fakes.contents(out) == cache_fakes.contents(with_locks)


def test_an_unfinished_cache_goes_on_where_there_are_no_locks(
    tmp_path: Path, train: CocoData, val: CocoData, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not called damaged."""
    out = tmp_path / "cache.h5"

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr("maskx_pipeline.cache.job.ExportJob._write_val", stop)
        with pytest.raises(KeyboardInterrupt):
            cache_fakes.export(out, train, val)
    assert partial_path(out).exists()
    assert cache_fakes.export(out, train, val).exists()


def test_an_environment_that_asks_for_locks_is_named(
    cache_path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 listens to it before it listens to the program."""

    def open_file(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "unable to lock file, errno = 37")

    monkeypatch.setattr(h5py, "File", open_file)
    with pytest.raises(MachineError, match=r"(?s)without locks.*unset HDF5_USE_FILE_LOCKING"):
        RoICache(cache_path)


def test_only_what_was_seen_to_be_damaged_is_called_so(cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock, or a file that may not be read, says nothing about the content, and --overwrite would not help."""
    whole = cache_path.read_bytes()

    def said() -> str:
        with pytest.raises(CacheError) as caught:
            RoICache(cache_path)
        return str(caught.value)

    with cache_path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        text = said()
        assert "is being written by another process" in text
        assert "damaged" not in text
        assert "--overwrite" not in text

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as context:
        context.setattr(h5py, "File", denied)
        text = said()
        assert "cannot be opened: Permission denied" in text
        assert "--overwrite" not in text
    for content, word in ((whole[: len(whole) // 2], "is truncated"), (b"x" * 9000, "is not an HDF5 file")):
        cache_path.write_bytes(content)
        text = said()
        assert word in text
        assert "damaged" not in text


def _second(out: Path, train: CocoData, val: CocoData, told: Any) -> None:
    try:
        cache_fakes.export(out, train, val, overwrite=True)
        told.put("written")
    except MaskXError as error:
        told.put(str(error))


def test_the_second_of_two_exports_is_told_who_the_first_is(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Even with --overwrite, and before it has recovered or removed anything."""
    out = tmp_path / "cache.h5"
    forked = multiprocessing.get_context("fork")
    told = forked.Queue()
    with locked(out):
        partial_path(out).write_bytes(b"rows")
        second = forked.Process(target=_second, args=(out, train, val, told))
        second.start()
        text = told.get(timeout=60)
        second.join()
        assert f"{out} is being written by another process (process {os.getpid()} on " in text
        assert partial_path(out).read_bytes() == b"rows"
