"""The RoI cache after a power cut, at every call that changes a file and in every order that fsync leaves open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import write_log
from power_cut import Disk, cuts_of
from write_log import Call

_PROGRAM = Path(__file__).with_name("cut_export.py")
_ALL_COLUMNS = {"feature_dtype": "int8", "unmasked_objects": "2", "colours": True, "images": [3, 2]}

needs_compiler = pytest.mark.skipif(not write_log.can_build(), reason="no C compiler to build the library with")


def _cut(folder: Path, step: int, again: int, settings: dict[str, Any]) -> dict[str, Any]:
    done = write_log.run_logged(folder, _PROGRAM, str(folder), str(step), str(again), json.dumps(settings))
    assert done.returncode == 0, done.stderr
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(counts)  # noqa: T201
    return counts


def _check(counts: dict[str, Any]) -> None:
    assert {name: counts.get(name, 0) for name in ("lost", "corrupt under its final name", "commits lost")} == {
        "lost": 0, "corrupt under its final name": 0, "commits lost": 0,
    }, counts["first"]  # fmt: skip
    assert counts["under its final name"] > 0  # the last renaming is among what was tried


@needs_compiler
def test_an_export_goes_on_after_a_power_cut_from_its_last_commit(tmp_path: Path) -> None:
    """With the same cache in the end, and never a broken one under its name; here every 12th state."""
    counts = _cut(tmp_path, 12, 0, {"images": [2, 1]})
    _check(counts)
    assert counts["states"] > 20


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("processes", [[1, 2, 1], [2, 1, 3], [2, 3, 2]])
def test_no_power_cut_loses_an_export_that_goes_on_by_others(tmp_path: Path, processes: list[int]) -> None:
    """By the second number of processes where the first had stopped; after the cut, by the third. Every 8th state."""
    counts = _cut(tmp_path, 8, 400, {"processes": processes})
    _check(counts)
    assert counts["states"] > 100


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("again", "settings"), [(0, {}), (150, _ALL_COLUMNS)])
def test_no_power_cut_loses_an_export(tmp_path: Path, again: int, settings: dict[str, Any]) -> None:
    """Every state that may be left, and some exports that are cut again while they go on."""
    counts = _cut(tmp_path, 1, again, settings)
    _check(counts)
    assert counts["states"] > 500


def _calls(root: Path, *kinds: str) -> list[Call]:
    """A file written as an atomic one is, with some of the steps left out."""
    temporary, path, content = str(root / "new"), str(root / "file"), b"x" * 1000
    every = {
        "create": Call("c", 1, 0, temporary, "", b""),
        "write": Call("w", 1, 0, "", "", content),
        "sync": Call("s", 1, 0, "", "", b""),
        "rename": Call("r", 1, 0, temporary, path, b""),
        "sync folder": Call("d", 9, 0, str(root), "", b""),
    }
    return [every[kind] for kind in kinds]


def _found(root: Path, calls: list[Call]) -> set[bytes | None]:
    """What may be under the name of the file, None for nothing, when all calls have been made."""
    trees = [tree for done, _, tree in cuts_of(root, {}, {}, calls) if done == len(calls)]
    return {tree.get(str(root / "file")) for tree in trees}


def test_the_model_of_a_disk_loses_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    """A renamed file may be empty, half, or not there, until its content and then its name are synced."""
    whole, half = b"x" * 1000, b"x" * 512
    unsynced = Disk(tmp_path, {}, {})
    for call in _calls(tmp_path, "create", "write", "rename"):
        unsynced.call(call)
    file = str(tmp_path / "file")
    assert unsynced.tree(lambda _: False, lambda _: True)[file] == b""
    assert unsynced.tree(lambda sector: sector == 0, lambda _: True)[file] == half
    assert file not in unsynced.tree(lambda _: True, lambda _: False)
    assert unsynced.tree(lambda _: True, lambda _: True)[file] == whole
    assert _found(tmp_path, [*_calls(tmp_path, "create", "write", "sync", "rename"), Call("x", 0, 1, "", "", b"")]) == {
        None, whole,
    }  # fmt: skip
    every = _calls(tmp_path, "create", "write", "sync", "rename", "sync folder")
    assert _found(tmp_path, [*every, Call("x", 0, 1, "", "", b"")]) == {whole}
