"""What lies in the place of a file and is none: pipes and devices, which never end, and links that lead in a circle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from annotate_world import MIXED, write_dataset, write_model
from tiny_project import maskx

from maskx_pipeline.data.annotation_file import read_annotation_columns
from maskx_pipeline.data.images import read_pixels
from maskx_pipeline.errors import CacheError, DataError
from maskx_pipeline.provenance.there import require_cache

ODD: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "circle": lambda path: path.symlink_to(path.name),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A model and two images."""
    write_model(tmp_path / "runs" / "e2e" / "m")
    write_dataset(tmp_path, {"1.png": "RGB", "2.png": "RGB"}, MIXED)
    (tmp_path / "maskx.toml").write_text("[data]\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("kind", ODD)
def test_an_annotation_file_is_a_file(tmp_path: Path, kind: str) -> None:
    """Known at once, by its name."""
    path = tmp_path / "boxes.json"
    ODD[kind](path)
    with pytest.raises(DataError, match=r"boxes\.json cannot be read: (it is a pipe|Too many levels)"):
        read_annotation_columns(path)
    if kind == "circle":
        return  # to the command line it is not there
    said = maskx(tmp_path, "convert", "to", "yolo", "boxes.json", "--images", ".", code=1).stderr
    assert "boxes.json cannot be read" in said
    said = maskx(tmp_path, "convert", "from", "lvis", "boxes.json", "--out", "out", code=1).stderr
    assert "->" in said


@pytest.mark.parametrize("kind", ODD)
def test_an_image_is_a_file(project: Path, kind: str) -> None:
    """It is skipped as one that is damaged is, and the others are not."""
    image = project / "images" / "1.png"
    image.unlink()
    ODD[kind](image)
    with pytest.raises(DataError, match=r"1\.png cannot be read: (it is a pipe|Too many levels)"):
        read_pixels(image)
    words = ("--model", "runs/e2e/m", "--score-threshold", "0")
    said = maskx(project, "predict", "images", *words, "--out", "predicted").stderr
    assert "1.png" in said
    assert (project / "predicted" / "2.jpg").exists()
    said = maskx(
        project, "annotate", "boxes.json", "--images", "images", *words[:2], "--out", "out.json", code=1
    ).stderr
    assert "1.png" in said


def test_a_folder_that_is_a_circle_is_a_known_error(project: Path) -> None:
    """Of images, and to write to."""
    (project / "round").symlink_to("round")
    assert "round" in maskx(project, "predict", "round", "--model", "runs/e2e/m", code=2).stderr
    said = maskx(project, "predict", "images", "--model", "runs/e2e/m", "--out", "round/x", code=1).stderr
    assert "round" in said


def test_a_working_directory_that_is_gone_is_a_known_error(tmp_path: Path) -> None:
    """Libraries of torch end the process there."""
    program = "import os, sys; os.rmdir(os.getcwd()); from maskx_pipeline.commands import main; main()"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, "verify", str(tmp_path)],
        check=False, capture_output=True, text=True, cwd=tmp_path / "gone",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "the working directory is gone" in done.stderr


def test_what_is_neither_file_nor_folder_is_not_verified(tmp_path: Path) -> None:
    """No files that are sound would be said of it."""
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in maskx(tmp_path, "verify", "pipe", code=1).stderr


def test_what_the_system_refuses_is_named_without_numbers(project: Path) -> None:
    """The file first, and what is wrong with it."""
    (project / "taken").write_text("x", encoding="utf-8")
    said = maskx(project, "predict", "images", "--model", "runs/e2e/m", "--out", "taken", code=1).stderr
    assert "Error: taken: File exists." in said
    with pytest.raises(CacheError, match="images is no file"):
        require_cache(project / "images")
