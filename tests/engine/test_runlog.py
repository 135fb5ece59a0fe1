"""A run folder says whether a stage starts, resumes, or has nothing to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.engine.runlog import STATE_FILE, Run, open_run
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.run_folder import RUN_FILE, read_run
from maskx_pipeline.provenance.seals import value_of


def _open(folder: Path, **changes: Any) -> Run:
    arguments: dict[str, Any] = {
        "stage": "detect",
        "identity": {"lr": 0.02, "steps": (60, 80), "from_": "cache"},
        "config": {"lr": 0.02, "out": folder},
        "inputs": {"train annotations": "aaaa"},
    }
    return open_run(folder, **{**arguments, **changes})


def test_a_new_folder_is_a_new_run_with_its_record(tmp_path: Path) -> None:
    """run.json is there from the start and says what runs."""
    run = _open(tmp_path / "run", command="maskx detect train")
    assert run.state == "new"
    record = read_run(tmp_path / "run", stage="detect")
    assert (record["schema"], record["status"], record["finished"]) == (1, "running", None)
    assert record["command"] == "maskx detect train"
    assert record["identity"]["steps"] == [60, 80]
    assert set(record["versions"]) == {"maskx", "torch", "torchvision", "python"}


def test_an_interrupted_run_resumes_and_a_finished_one_is_left_alone(tmp_path: Path) -> None:
    """The same settings and inputs lead back to the same run."""
    run = _open(tmp_path / "run")
    run.update(step=3)
    assert _open(tmp_path / "run").state == "resume"
    (run.folder / STATE_FILE).write_bytes(b"state")
    run.finish(box_ap=12.5)
    again = _open(tmp_path / "run")
    assert again.state == "finished"
    assert again.content["results"] == {"box_ap": 12.5}
    assert again.content["step"] == 3
    assert (run.folder / STATE_FILE).exists()  # for a longer training


def test_a_changed_run_is_an_error_that_names_each_difference(tmp_path: Path) -> None:
    """Old and new values of settings and inputs are in the message, and the way out in the hint."""
    _open(tmp_path / "run").finish()
    with pytest.raises(RunError) as caught:
        _open(
            tmp_path / "run",
            identity={"lr": 0.01, "steps": [60, 80], "from_": "images", "seed": 1},
            inputs={"train annotations": "bbbb"},
        )
    message = str(caught.value)
    assert "lr: 0.02 -> 0.01" in message
    assert "from: cache -> images" in message
    assert "seed: not given -> 1" in message
    assert "train annotations: aaaa -> bbbb" in message
    assert "steps" not in message
    assert "--overwrite" in message


def test_of_many_differences_only_the_first_are_named(tmp_path: Path) -> None:
    """A detector that was imported has hardly a setting of one that was trained."""
    _open(tmp_path / "run").finish()
    with pytest.raises(RunError, match=r"  and \d+ more\n  ->") as caught:
        _open(tmp_path / "run", identity={f"setting{number}": 1 for number in range(30)})
    assert str(caught.value).count("\n") == 12


def test_another_stage_is_a_difference(tmp_path: Path) -> None:
    """A folder is not shared by two stages."""
    _open(tmp_path / "run")
    with pytest.raises(RunError, match="stage: detect -> fit-transfer"):
        _open(tmp_path / "run", stage="fit-transfer")


def test_overwrite_starts_anew_and_removes_what_was_there(tmp_path: Path) -> None:
    """With --overwrite nothing of the earlier run is left."""
    run = _open(tmp_path / "run")
    run.log(1, loss=2.0)
    (run.folder / "evaluation").mkdir()
    (run.folder / "evaluation" / "results.json").write_text("[]")
    run.finish()
    again = _open(tmp_path / "run", identity={"lr": 1}, overwrite=True)
    assert again.state == "new"
    again.close()
    assert [path.name for path in again.folder.iterdir()] == [RUN_FILE]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    """Files of somebody else are not deleted, not even with --overwrite."""
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match=r"run\.json is missing"):
        _open(tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_what_a_killed_start_left_behind_does_not_count_as_files(tmp_path: Path) -> None:
    """Killed while run.json was first written, the stage can be started again."""
    (tmp_path / ".run.json.tmp").write_text("{")
    assert _open(tmp_path).state == "new"


def test_rewind_drops_later_lines_and_a_line_cut_off(tmp_path: Path) -> None:
    """After a kill the metrics go on from the saved state without doubles."""
    run = _open(tmp_path / "run")
    for step in (20, 40, 60):
        run.log(step, loss=1.0 / step, ap=float("nan"))
    path = run.folder / "metrics.jsonl"
    with path.open("a") as stream:
        stream.write('{"step": 40, "lo')
    run.rewind(40)
    lines = [value_of(line) for line in path.read_bytes().splitlines(keepends=True)]
    assert lines == [{"step": 20, "loss": 0.05, "ap": None}, {"step": 40, "loss": 0.025, "ap": None}]


def test_read_run_says_what_to_run(tmp_path: Path) -> None:
    """Absent, damaged, of another stage, or of a later schema: each is told apart."""
    with pytest.raises(RunError, match="holds no run") as caught:
        read_run(tmp_path / "nothing", stage="detect")
    assert "maskx detect train" in str(caught.value)
    with pytest.raises(RunError, match="give the folder of a run"):
        read_run(tmp_path / "nothing")
    _open(tmp_path / "run")
    with pytest.raises(RunError, match="not of `maskx fit-transfer`"):
        read_run(tmp_path / "run", stage="fit-transfer")
    path = tmp_path / "run" / RUN_FILE
    write_json(path, {**json.loads(path.read_text()), "schema": 2})
    with pytest.raises(RunError, match="schema 2"):
        read_run(tmp_path / "run")
    path.write_text('{"schema": 1')
    with pytest.raises(RunError, match="cannot be read"):
        read_run(tmp_path / "run")


def test_seconds_add_up_over_interruptions(tmp_path: Path) -> None:
    """The time of a run is that of all its processes."""
    _open(tmp_path / "run").update(note="first")
    path = tmp_path / "run" / RUN_FILE
    record = json.loads(path.read_text())
    write_json(path, {**record, "seconds": 100.0})
    run = _open(tmp_path / "run")
    run.finish()
    assert run.content["seconds"] >= 100.0
