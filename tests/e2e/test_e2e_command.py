"""`maskx e2e` through the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e_world import DETECT, JOINT, seen_file, write_data

from maskx_pipeline.commands import run
from maskx_pipeline.project import write_project

ROOT = Path(__file__).parents[2]


def maskx(*arguments: str, code: int = 0) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        returned = run(arguments)
    assert returned == code, err.getvalue()
    return out.getvalue(), err.getvalue()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data = write_data(tmp_path / "data")
    joint = {**JOINT, "iterations": 1, "eval_every": 0, "split": f"@{seen_file(tmp_path)}"}
    mask_model = {"head_width": 8, "head_depth": 1, "form": "published", "box_loss": "none", "coordinates": False}
    write_project(tmp_path, {"data": data.to_mapping(), "detect": DETECT, "fit-transfer": mask_model, "e2e": joint})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_joint_model_is_trained_evaluated_compared_and_predicts(project: Path) -> None:
    """Settings come from three tables of maskx.toml; flags of the mask model win over [fit-transfer]."""
    trained, _ = maskx("e2e", "--init", "backbone", "--embedding", "cls", "--no-stop-gradient")
    model = trained.strip()
    assert Path(model) == Path("runs/e2e/cls-published@seen-no-stop-gradient")
    record = json.loads((project / model / "run.json").read_text())
    assert (record["transfer"]["embedding"], record["transfer"]["head_width"]) == ("cls", 8)
    assert record["detect"]["box_head_dim"] == DETECT["box_head_dim"]
    report = json.loads(maskx("evaluate", "--model", model, "--split", "unseen", "--json")[0])
    assert report["from"] == "images"
    assert report["sets"]["unseen"]["categories"] == 1
    maskx("predict", "data/0.png", "--model", model, "--out", "out", "--score-threshold", "0.01")
    assert (project / "out" / "0.jpg").is_file()
    rows = json.loads(maskx("compare", model, "--format", "json")[0])["runs"]
    assert rows[0]["embedding"] == "cls"
    assert "unchanged" in maskx("e2e", "--init", "backbone", "--embedding", "cls", "--no-stop-gradient")[1]


@pytest.mark.slow
def test_two_processes_train_one_model_and_print_it_once(project: Path) -> None:
    """Under torchrun with gloo: the result can be taken into a variable of a script, also from a second call."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for state in ("", "is finished and unchanged"):
        done = subprocess.run(
            [*command, "-m", "maskx_pipeline", "e2e", "--init", "backbone", "--embedding", "cls", "--name", "shared"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout == f"{Path('runs/e2e/shared')}\n"
        assert state in done.stderr
    assert json.loads((project / "runs/e2e/shared/run.json").read_text())["status"] == "finished"


def test_without_a_detector_the_error_says_what_to_run(project: Path) -> None:
    """The default start is the project's detector."""
    _, said = maskx("e2e", code=1)
    assert "runs/detector" in said
    assert not (project / "runs").exists()
