"""Changing the structure of an HDF5 file wholly or not at all."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from maskx_pipeline.cache import restructure as module
from maskx_pipeline.cache.restructure import recover, redo_path, restructure
from maskx_pipeline.errors import CacheError
from maskx_pipeline.stages.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("rows", data=np.arange(5000), chunks=(10,), maxshape=(None,))
    return path


def change(file: h5py.File) -> None:
    file["rows"].resize(1234, axis=0)
    file["more"] = np.arange(3000)
    file.attrs["done"] = True


def check(path: Path) -> None:
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(file["rows"][:], np.arange(1234))
        np.testing.assert_array_equal(file["more"][:], np.arange(3000))
        assert file.attrs["done"]


def test_a_change_is_made(path: Path) -> None:
    """The file is what HDF5 would have made of it, and nothing is left beside it."""
    restructure(path, change)
    check(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_change_that_fails_leaves_the_file_untouched(path: Path) -> None:
    """Nothing reaches the file before the change is whole."""
    before = path.read_bytes()

    def fail(file: h5py.File) -> None:
        change(file)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        restructure(path, fail)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_change_is_finished_by_whoever_comes_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the pages are copied leaves a file that `recover` mends."""
    written = 0
    real = module.os.pwrite

    def pwrite(*args: object) -> int:
        nonlocal written
        written += 1
        if written == 3:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module.os, "pwrite", pwrite)
    with pytest.raises(KeyboardInterrupt):
        restructure(path, change)
    monkeypatch.undo()
    assert redo_path(path).exists()
    recover(path)
    check(path)
    assert not redo_path(path).exists()


def test_a_flip_in_a_pending_change_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever would go on, before a page is copied, and by `maskx verify`."""
    monkeypatch.setattr(module, "recover", lambda _: None)
    restructure(path, change)
    monkeypatch.undo()
    redo, before = redo_path(path), path.read_bytes()
    sound = redo.read_bytes()
    assert [found.state for found in verify(redo).files] == ["sound"]
    drawn = random.Random(3)
    places = [*range(0, 8 * 40, 5), *(drawn.randrange(8 * len(sound)) for _ in range(60))]  # the header, and anywhere
    for place in places:
        raw = bytearray(sound)
        raw[place // 8] ^= 1 << place % 8
        redo.write_bytes(raw)
        with pytest.raises(CacheError, match=r"file\.h5\.redo is damaged"):
            recover(path)
        assert path.read_bytes() == before
        assert verify(redo).damaged
    redo.write_bytes(sound)
    assert verify(redo).damaged == ()
    recover(path)
    check(path)


def test_recovering_without_a_pending_change_does_nothing(path: Path) -> None:
    """It may be called before every opening."""
    before = path.read_bytes()
    recover(path)
    assert path.read_bytes() == before
