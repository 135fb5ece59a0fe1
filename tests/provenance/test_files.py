"""Files are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from maskx_pipeline.engine.checkpoint import save_state, save_weights
from maskx_pipeline.provenance.files import (
    atomic_folder,
    atomic_path,
    is_temporary,
    remove_file,
    remove_temporaries,
    sha256_of_file,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """An error while writing changes nothing that a reader could see."""
    target = tmp_path / "weights"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            assert is_temporary(temporary)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_path_makes_the_folder_and_replaces_the_file(tmp_path: Path) -> None:
    """A new file takes the place of the old one."""
    target = tmp_path / "new" / "file"
    for text in ("one", "two"):
        with atomic_path(target) as temporary:
            temporary.write_text(text)
    assert target.read_text() == "two"


def test_sha256_of_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """The digest is the common one, also over several blocks."""
    content = bytes(range(256)) * 8192
    (tmp_path / "file").write_bytes(content)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_write_json_writes_null_for_what_json_does_not_know(tmp_path: Path) -> None:
    """NaN is no JSON, and other programs refuse it."""
    write_json(tmp_path / "a.json", {"ap": float("nan"), "list": (1, [float("inf")]), "name": "Käfer"})
    content = json.loads((tmp_path / "a.json").read_text())
    assert content.pop("seal").startswith("maskx-sha256:")
    assert content == {"ap": None, "list": [1, [None]], "name": "Käfer"}


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves an empty file under the name, or none at all; folders that are made are synced too."""
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        done.append(f"sync {'temporary' if name.endswith('.tmp') else name}")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    path = tmp_path / "made" / "file"
    write_text(path, "content")
    assert done == [f"sync {tmp_path.name}", "sync temporary", "rename to file", "sync made"]
    done.clear()
    remove_file(path)
    assert done == ["sync made"]


def test_two_writers_of_one_file_do_not_meet_in_a_temporary_one(tmp_path: Path) -> None:
    """The last one's content is there, whole."""
    path = tmp_path / "file"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second, which ends before the first")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    """Whatever library writes them: safetensors would keep weights from everyone else."""
    umask = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
        save_weights(tmp_path / "a.safetensors", {"w": torch.zeros(2)}, {})
        save_state(tmp_path / "a.pt", {"w": torch.zeros(2)})
    finally:
        os.umask(umask)
    assert {path.suffix: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        ".json": 0o640, ".safetensors": 0o640, ".pt": 0o640,
    }  # fmt: skip


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path: Path) -> None:
    """The temporary one must not be longer."""
    path = tmp_path / ("ä" * 125 + ".json")
    write_text(path, "long")
    assert path.read_text() == "long"


def test_a_folder_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """After an error the old one, and nothing beside it."""
    folder = tmp_path / "review"
    for text in ("one", "two"):
        with atomic_folder(folder) as temporary:
            (temporary / text).write_text(text)
    assert [path.name for path in folder.iterdir()] == ["two"]

    def write_half() -> None:
        with atomic_folder(folder) as temporary:
            (temporary / "three").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert [path.name for path in folder.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    """Also of the partial file, and of what was sealed before it got its name."""
    left = [
        ".a.json.0123abcd.tmp", ".a.json.0123abcd.old.tmp", ".a.json.partial.0123abcd.tmp",
        "..a.json.0123abcd.tmp.4567cdef.tmp",
    ]  # fmt: skip
    others = ["a.json", "a.json.partial", ".b.json.0123abcd.tmp", ".a.json.tmp", ".a.json.0123abcd.tmp.txt"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path, "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
