"""Which change of settings lets a training go on for longer, and which is another training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.engine.runlog import Run, open_run
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.longer import Longer
from maskx_pipeline.provenance.run_folder import read_run

LONGER = Longer("iterations", ("steps",), "state.pt")


def opened(folder: Path, *, longer: Longer | None = LONGER, inputs: str = "a", **identity: Any) -> Run:
    """A run of 6 iterations, but for what is given."""
    settings = {"lr": 0.1, "iterations": 6, "steps": [4]} | identity
    return open_run(folder, stage="detect", identity=settings, config=settings, inputs={"data": inputs}, longer=longer)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder with a state, as a training leaves it."""
    with opened(tmp_path / "run") as run:
        (run.folder / "state.pt").write_bytes(b"state")
        run.update(step=6)
        run.finish(ap=1.0)
    return tmp_path / "run"


def test_a_larger_length_goes_on(finished: Path) -> None:
    """Also with other drops of the learning rate; run.json says what was before."""
    with opened(finished, iterations=9, steps=[4, 8]) as run:
        assert run.state == "resume"
    record = read_run(finished)
    assert (record["status"], record["identity"]["iterations"], record["config"]["steps"]) == ("running", 9, [4, 8])
    assert record["prolonged"] == [{"step": 6, "before": {"iterations": 6, "steps": [4]}}]
    assert opened(finished, iterations=9, steps=[4, 8]).state == "resume"
    assert len(read_run(finished)["prolonged"]) == 1


def test_a_length_in_steps_is_compared_with_the_steps_that_were_noted(finished: Path) -> None:
    """Where two settings may say the length, a change from one to the other goes on if it is more steps."""
    longer = Longer("epochs", ("iterations", "steps"), "state.pt", steps=6)
    length = {"epochs": 3.0, "iterations": None}
    record = read_run(finished)
    record["identity"] |= length
    (finished / "run.json").write_text(json.dumps(record | {"iterations": 6}))
    with pytest.raises(RunError, match="holds a run that differs"):
        opened(finished, longer=longer, epochs=None, iterations=6)
    with opened(finished, longer=dataclasses.replace(longer, steps=7), epochs=None, iterations=7) as run:
        assert run.state == "resume"
    assert read_run(finished)["prolonged"] == [{"step": 6, "before": length}]


@pytest.mark.parametrize(
    "changes",
    [
        {"iterations": 5},
        {"steps": [5]},
        {"iterations": 9, "lr": 0.2},
        {"iterations": 9, "inputs": "b"},
        {"iterations": 9, "longer": None},
    ],
)
def test_anything_else_is_another_training(finished: Path, changes: dict[str, Any]) -> None:
    """Shorter, other drops alone, another rate, other data, a stage that cannot; the run stays as it is."""
    before = (finished / "run.json").read_bytes()
    with pytest.raises(RunError, match="holds a run that differs"):
        opened(finished, **changes)
    assert (finished / "run.json").read_bytes() == before


def test_without_a_state_there_is_nothing_to_go_on_from(finished: Path) -> None:
    """Somebody removed it to save room."""
    (finished / "state.pt").unlink()
    with pytest.raises(RunError, match=r"state\.pt is gone"):
        opened(finished, iterations=9)
    assert opened(finished).state == "finished"
