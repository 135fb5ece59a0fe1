"""Files are whole or not there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from maskx_pipeline.provenance.files import atomic_path, is_temporary, sha256_of_file, write_json


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
    assert json.loads((tmp_path / "a.json").read_text()) == {"ap": None, "list": [1, [None]], "name": "Käfer"}
