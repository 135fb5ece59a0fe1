"""`maskx verify`, seen from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cache_fakes
import h5py
import numpy as np
import pytest
import tiny_training

from maskx_pipeline.commands import run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a finished run and a cache."""
    tiny_training.train(tmp_path / "runs" / "detector")
    cache_fakes.export(tmp_path / "runs" / "cache.h5", cache_fakes.make_train(tmp_path), cache_fakes.make_val(tmp_path))
    return tmp_path


def test_a_sound_folder_is_said_to_be_sound(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the number of files that have no checksum: images of the user."""
    assert run(["verify", str(project)]) == 0
    out = capsys.readouterr().out
    assert out == "14 files: 6 sound, 0 damaged, 8 without a checksum, such as images and files of your own.\n"
    assert run(["verify", str(project / "runs" / "cache.h5"), "--all"]) == 0
    assert f"sound: {project / 'runs' / 'cache.h5'}" in capsys.readouterr().out


def test_the_rows_of_a_cache_that_are_damaged_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that makes it again; exit 3."""
    path = project / "runs" / "cache.h5"
    with h5py.File(path, "r+") as file:
        file["train/features"][3, 0, 0, 0] += np.float16(1)
        file["train/features"][9] = 0
    assert run(["verify", str(path)]) == 3
    captured = capsys.readouterr()
    assert "train: 2 of 64 rows are damaged: 3, 9" in captured.out
    assert "maskx export-embeddings --overwrite" in captured.out
    assert "not what was written: 1 of 1" in captured.err


def test_what_is_gone_and_what_changed_is_in_the_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what to do."""
    folder = project / "runs" / "detector"
    (folder / "last.safetensors").unlink()
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text.replace("1", "2", 1))
    assert run(["verify", str(folder), "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"sound": 3, "damaged": 1, "missing": 1, "unchecked": 0}
    states = {Path(file["path"]).name: file["state"] for file in found["files"]}
    assert states["metrics.jsonl"] == "damaged"
    assert states["last.safetensors"] == "missing"
    assert all(file["advice"] for file in found["files"] if file["state"] != "sound")


def test_a_run_that_lost_its_seal_is_damaged(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """maskx always writes one."""
    path = project / "runs" / "detector" / "run.json"
    content = json.loads(path.read_text())
    del content["seal"]
    path.write_text(json.dumps(content))
    assert run(["verify", str(path)]) == 3
    assert "its seal is gone" in capsys.readouterr().out


def test_a_cache_of_another_program_is_not_called_damaged(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It need not have checksums."""
    path = project / "runs" / "cache.h5"
    with h5py.File(path, "r+") as file:
        cache_fakes.without_checksums(file)
    assert run(["verify", str(path), "--all"]) == 0
    assert "another program wrote it" in capsys.readouterr().out
