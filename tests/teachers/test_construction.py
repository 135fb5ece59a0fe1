"""A teacher by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import own_teacher
import pytest

from maskx_pipeline.config import DEFAULT_TEACHERS
from maskx_pipeline.errors import ConfigError, MachineError
from maskx_pipeline.own_class import import_class
from maskx_pipeline.teachers.construction import ask_teacher

HOME = own_teacher.__file__


def test_a_class_in_a_file_is_called_by_its_name_and_known_by_its_identity() -> None:
    """Its masks are marked with both; one at a time is asked."""
    asked = ask_teacher(f"{HOME}:LeftHalves", DEFAULT_TEACHERS)
    assert (asked.name, asked.teacher.identity, asked.workers) == ("LeftHalves", "left halves", 1)
    assert asked.source.startswith("teacher:LeftHalves#")
    other = ask_teacher(f"{HOME}:Everything", DEFAULT_TEACHERS)
    assert other.source.rpartition("#")[2] != asked.source.rpartition("#")[2]


def test_a_class_in_a_package_is_found() -> None:
    """As Python finds it."""
    assert ask_teacher("own_teacher:Nothing", DEFAULT_TEACHERS).teacher.identity == "nothing"


def test_grabcut_has_its_settings_and_threads() -> None:
    """They decide its masks, but for the number of threads."""
    settings = replace(DEFAULT_TEACHERS, grabcut=DEFAULT_TEACHERS.grabcut.replace(iterations=2, workers=7))
    asked = ask_teacher("grabcut", settings)
    assert (asked.name, asked.workers) == ("grabcut", 7)
    assert asked.teacher.identity == "grabcut, iterations 2, context 0, seed 0"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("samm", "there is no teacher `samm`"),
        (f"{HOME}:Unfinished", "is no teacher: it has no masks"),
        (f"{HOME}:Asking", "cannot be made: .*folder"),
        (f"{HOME}:Nobody", "has no class Nobody"),
        ("nowhere.py:Nobody", "nowhere.py does not exist"),
        ("no_such_module:Nobody", "cannot be imported"),
    ],
)
def test_what_is_no_teacher_is_named(name: str, reason: str) -> None:
    """The option that named it is in the hint, where a name is missing."""
    with pytest.raises(ConfigError, match=reason) as caught:
        ask_teacher(name, DEFAULT_TEACHERS, option="--second-opinion")
    assert "--second-opinion" in str(caught.value) or "teacher" in str(caught.value)


def test_a_device_that_does_not_exist_is_named_before_weights_are_looked_for() -> None:
    """Nothing is downloaded for it."""
    with pytest.raises(MachineError, match="tpu"):
        ask_teacher("sam", DEFAULT_TEACHERS, device="tpu")


def test_a_file_that_maskx_toml_names_lies_in_the_project_and_so_do_weights(tmp_path: Path) -> None:
    """Names on the Hub, and classes of packages, are left as they are."""
    from maskx_pipeline.config import AnnotateConfig, SamConfig
    from maskx_pipeline.project import Project

    (tmp_path / "weights").mkdir()
    tables = {"annotate": {"second-opinion": "mine.py:Teacher", "best-of": "pack.mine:Teacher"}}
    project = Project(folder=tmp_path, tables={**tables, "sam": {"weights": "weights"}})
    annotate = project.load(AnnotateConfig)
    assert annotate.second_opinion == f"{tmp_path / 'mine.py'}:Teacher"
    assert annotate.best_of == "pack.mine:Teacher"
    assert project.load(SamConfig).weights == str(tmp_path / "weights")
    named = Project(folder=tmp_path, tables={"sam": {"weights": "facebook/sam-vit-huge"}})
    assert named.load(SamConfig).weights == "facebook/sam-vit-huge"
    assert named.load(AnnotateConfig).second_opinion == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1 / 0\n", r"ZeroDivisionError \(mine\.py, line 1\): division by zero"),
        (b"x = 1\ndef (\n", r"SyntaxError \(mine\.py, line 2\)"),
        (b"import sys\nsys.exit(5)\n", r"SystemExit \(mine\.py, line 2\): 5"),
        (b"\xff", r"SyntaxError"),
        (b"x = 1\x00", r"SyntaxError .*null bytes"),
        (b"import no_such_module_anywhere\n", r"No module named"),
    ],
)
def test_a_file_that_ends_when_it_is_imported_is_a_known_error(tmp_path: Path, text: bytes, said: str) -> None:
    """With the line of the user's file, and the exit code of a known error."""
    path = tmp_path / "mine.py"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=rf"mine\.py cannot be imported: .*{said}"):
        import_class(Path(f"{path}:Teacher"), option="--teacher")
