"""`maskx tune` and `maskx run` by two processes: what one finds, whoever makes a fit, however often it stops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ranks_world import TORCHRUN, contents, environment, maskx, side_by_side
from tune_world import make_project

pytestmark = pytest.mark.slow

FOLDER = Path("runs/tune/designs@seen")
TUNE = ("tune", "--designs", "designs.toml", "--json")
WHOLE = ("best.safetensors", "last.safetensors", "hidden.json", "metrics.jsonl")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project, and what one process found in it."""
    folder = make_project(tmp_path_factory.mktemp("tune") / "project")
    shutil.copytree(folder, folder.with_name("untuned"))
    return folder, json.loads(maskx(folder, *TUNE).stdout)


@pytest.fixture
def here(tuned: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """The same project, with nothing tuned."""
    return Path(shutil.copytree(tuned[0].with_name("untuned"), tmp_path / "here"))


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """All of it but the seconds, which differ."""
    designs = [{**design, "seconds": 0} for design in (*found["designs"], found["halved"])]
    return {**found, "designs": designs, "halved": None}


def of_fits(folder: Path) -> dict[str, bytes]:
    """What the fits of folds and halves wrote."""
    files = contents(folder / FOLDER)
    return {name: content for name, content in files.items() if name.endswith(WHOLE)}


def test_two_processes_find_what_one_does(tuned: tuple[Path, dict[str, Any]], here: Path) -> None:
    """The figures, the choice, the expectation, and every fold's weights to the byte; both made some of the fits.

    Only one talks. Given again, by one process, nothing is fitted and the same is printed.
    """
    project, alone = tuned
    done = maskx(here, *TUNE, processes=2)
    together = json.loads(done.stdout)
    assert figures(together) == figures(alone)
    assert of_fits(here) == of_fits(project)
    assert len(of_fits(here)) == 4 * 14
    lines = done.stderr.splitlines()
    assert "3 designs on the first of 3 folds, 2 at a time." in lines
    assert sum(" without the masks of " in line for line in lines) == 14
    assert sum(line.startswith("Fitting to ") for line in lines) < 15  # those of the main process, and the shared one
    runs = [json.loads((folder / together["run"] / "run.json").read_text()) for folder in (project, here)]
    assert [run["processes"] for run in runs] == [1, 2]
    assert runs[0]["expected"] == runs[1]["expected"]
    assert all(run["results"].keys() == runs[0]["results"].keys() for run in runs)
    assert maskx(here, *TUNE).stdout == done.stdout


def test_interrupted_it_goes_on_by_others(tuned: tuple[Path, dict[str, Any]], here: Path) -> None:
    """Stopped twice, with two fits begun, then one process, then three: as if it had not stopped, and nothing twice."""
    project, alone = tuned
    start = [sys.executable, *TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "maskx_pipeline"]
    process = subprocess.Popen([*start, *TUNE], cwd=here, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(list((here / FOLDER).glob("*/hidden.json"))) >= 2)
    os.kill(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0, said
    finished = {path: path.stat().st_mtime_ns for path in (here / FOLDER).glob("*/hidden.json")}
    assert 2 <= len(finished) < 14
    assert json.loads((here / FOLDER / "run.json").read_text())["status"] == "running"
    jobs = subprocess.Popen(
        [sys.executable, "-m", "maskx_pipeline", *TUNE], cwd=here, env=environment(), stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(list((here / FOLDER).glob("*/hidden.json"))) > len(finished))
    os.kill(jobs.pid, signal.SIGINT)
    jobs.communicate(timeout=60)
    together = json.loads(maskx(here, *TUNE, processes=3).stdout)
    assert figures(together) == figures(alone)
    assert of_fits(here) == of_fits(project)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 120
    while not condition() and time.monotonic() < until:
        time.sleep(0.005)
    assert condition()


STOPPED = """
import os, signal
from pathlib import Path
from maskx_pipeline import commands
from maskx_pipeline.engine import distributed, loop

real, calls = loop.TrainingState.count, []

def count(self, losses):
    real(self, losses)
    calls.append(self.run.folder)
    if os.environ["RANK"] == "{rank}" and len(calls) == 2:
        {what}

loop.TrainingState.count = count
commands.main()
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_in_its_fit_ends_the_other(
    rank: int, tuned: tuple[Path, dict[str, Any]], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without torchrun, as between machines: the other saves its state and says why; then it goes on."""
    monkeypatch.chdir(here)
    program = STOPPED.format(rank=rank, what="os.kill(os.getpid(), signal.SIGKILL)")
    codes = [1, 1]
    codes[rank] = -signal.SIGKILL
    began = time.monotonic()
    long = {"MASKX_FIT_TRANSFER_EPOCHS": "100000", "MASKX_FIT_TRANSFER_EVAL_EVERY": "0"}
    for name, value in long.items():
        monkeypatch.setenv(name, value)
    said = side_by_side([sys.executable, "-c", program, *TUNE], processes=2, codes=codes)
    assert time.monotonic() - began < 60
    assert "another of the 2 processes has ended" in said[1 - rank]
    assert "Traceback" not in said[1 - rank]
    assert list((here / FOLDER).glob("*/state.pt"))
    for name in long:
        monkeypatch.delenv(name)
    assert figures(json.loads(maskx(here, *TUNE, "--overwrite").stdout)) == figures(tuned[1])


def test_a_fit_that_fails_is_the_error_of_both(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others' fits, which were stopped, go on when the command is given again."""
    monkeypatch.chdir(here)
    what = "from maskx_pipeline.errors import RunError; raise RunError('mask_loss became nan at step 2.')"
    said = side_by_side([sys.executable, "-c", STOPPED.format(rank=1, what=what), *TUNE], processes=2, codes=[1, 1])
    assert all("Error: mask_loss became nan at step 2." in text for text in said)
    assert json.loads(maskx(here, *TUNE, processes=2).stdout)["best"]


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--jobs", "2"), "leave out --jobs"), (("--device", "cpu,cpu"), "leave out --device")],
)
def test_what_torchrun_gives_already_is_refused(options: tuple[str, ...], message: str, here: Path) -> None:
    said = maskx(here, *TUNE, *options, processes=2, code=None).stderr
    assert message in said
    assert not (here / "runs/tune").exists()


def test_a_design_that_cannot_be_shared_is_refused_only_where_it_would_be(here: Path) -> None:
    """A fold's fit is one process's work; the last one is not."""
    (here / "designs.toml").write_text('[a]\nembedding = "none"\nhead-norm = "batch"\n[b]\nembedding = "cls"\n')
    assert "Design a: --head-norm batch" in maskx(here, *TUNE, processes=2, code=None).stderr
    found = json.loads(maskx(here, *TUNE, "--no-refit", processes=2).stdout)
    assert [design["name"] for design in found["designs"]] == ["a", "b"]


def test_run_by_two_processes_is_its_stages_by_two(project: Path) -> None:
    """One after the other; the page and the table are there once, and given again, nothing is done."""
    shutil.rmtree(project / "runs")
    by_hand = Path(shutil.copytree(project, project.with_name("by-hand")))
    planned = json.loads(maskx(project, "run", "--dry-run", "--json", processes=2).stdout)
    assert not (project / "runs").exists()
    done = maskx(project, "run", processes=2)
    assert done.stdout.count("report.html") == 1
    assert done.stderr.count("These are the times of one process; 2 share the stages.") == 1
    steps = [step["command"].split()[1:] for step in planned["steps"][:-1]]
    assert [words[0] for words in steps] == ["detect", "export-embeddings"] + ["fit-transfer", "evaluate"] * 2
    for words in steps:
        maskx(by_hand, *words, processes=2)
    files = [
        {name: content for name, content in contents(folder / "runs").items() if is_result(name)}
        for folder in (project, by_hand)
    ]
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == []
    assert any(name.endswith("results.json") for name in files[0])
    again = maskx(project, "run", processes=2)
    assert again.stdout == done.stdout
    assert again.stderr.count("is finished and unchanged") == 4  # detector, cache, two fits


def is_result(name: str) -> bool:
    return name.endswith((".safetensors", "metrics.jsonl", "results.json", "box-iou.json", "ap-all.json"))
