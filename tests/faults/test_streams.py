"""Standard streams that are closed, full, or whose reader has ended: the work is done all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_project

MAIN = "from maskx_pipeline.commands import main; main()"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated data set."""
    folder = tmp_path_factory.mktemp("streams")
    tiny_project.maskx(folder, "init", *tiny_project.shapes_of(train=2, val=1))
    return folder


def _shell(project: Path, line: str) -> tuple[int, str, str]:
    """Run a line of the shell, in which $1 is Python, $2 the program of maskx."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "-", sys.executable, MAIN],
        check=False, capture_output=True, text=True, cwd=project, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-", "2> >(exec true)"])
def test_what_is_asked_for_is_printed_also_where_no_log_can_be(project: Path, streams: str) -> None:
    """The log is lost, the result and the exit code are not."""
    code, out, _ = _shell(project, f'"$1" -c "$2" doctor {streams}')
    assert code == 0
    assert "2 training and 1 validation images" in out


def test_an_error_keeps_its_exit_code_where_it_cannot_be_printed(tmp_path: Path) -> None:
    """Three for a check that failed, and two for usage; Python gives one to a traceback."""
    (tmp_path / "run.json").write_text("{}")
    for words, expected in (("compare none", 2), ("verify .", 3), ("doctor", 1)):
        for streams in ("2>&-", "2>/dev/full"):
            assert _shell(tmp_path, f'"$1" -c "$2" {words} {streams}')[0] == expected


def test_a_closed_output_is_no_traceback(project: Path) -> None:
    """Nobody wants the result."""
    code, _, err = _shell(project, '"$1" -c "$2" doctor >&-')
    assert (code, "Traceback" in err) == (0, False)


def test_a_full_output_is_a_known_error(project: Path) -> None:
    """A result that is lost is said to be."""
    code, _, err = _shell(project, '"$1" -c "$2" doctor >/dev/full')
    assert code == 1
    assert "Error: an output cannot be written" in err


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """What a C library prints to it would go into that file."""
    (tmp_path / "look.py").write_text(
        "import os\nfrom maskx_pipeline import commands\n"
        "def run():\n    os.write(os.open('number', os.O_WRONLY | os.O_CREAT), b'%d' % os.open('/dev/null', 0))\n"
        "commands.run = run\ncommands.main()\n"
    )
    _shell(tmp_path, '"$1" look.py <&- >&- 2>&-')
    assert int((tmp_path / "number").read_text()) > 2
