"""`maskx run`: the plan, the stages in their order, going on, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from docs_world import make_project, small_settings, write_coco

from maskx_pipeline.commands import run
from maskx_pipeline.config import (
    DataConfig,
    DetectConfig,
    E2EConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    MasksConfig,
    ReportConfig,
    RunConfig,
    TransferConfig,
)
from maskx_pipeline.project import read_project
from maskx_pipeline.stages import run as run_stage
from maskx_pipeline.stages import run_plan
from maskx_pipeline.stages.estimate import Estimate, StageEstimate

RIVAL, OURS = "agnostic+xy+boxes", "cls+box-rbf+xy+boxes"
TABLES = (
    DataConfig, DetectConfig, ExportConfig, TransferConfig, E2EConfig, EvaluateConfig, ReportConfig, MasksConfig,
)  # fmt: skip


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data to make projects from."""
    folder = tmp_path_factory.mktemp("coco")
    write_coco(folder)
    return folder


@pytest.fixture
def project(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project whose stages take seconds; the working directory."""
    folder = tmp_path / "project"
    make_project(folder, coco)
    for name, value in small_settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return folder


def settings(folder: Path, **changes: Any) -> run_stage.RunSettings:
    """Those of a project."""
    found = {cls.table.replace("-", "_").replace("fit_", "").replace("_embeddings", ""): cls for cls in TABLES}
    loaded: dict[str, Any] = {name: read_project(folder).load(cls) for name, cls in found.items()}
    loaded |= {"run": RunConfig(), "detect_import": read_project(folder).load(ImportConfig)}
    return run_stage.RunSettings(**{**loaded, **changes})


def estimated(*_: object, **__: object) -> Estimate:
    """Round numbers in place of what would be timed."""
    times = {"detect train": 100.0, "export-embeddings": 40.0, "fit-transfer": 20.0, "evaluate": 10.0}
    return Estimate(tuple(StageEstimate(name, seconds, 1000) for name, seconds in times.items()), measured=())


def test_from_the_boxes_to_the_report_and_nothing_twice(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan writes nothing; then both models are there, compared, and on a page. Given again, nothing is timed."""
    assert run(["run", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [step["command"].split()[1] for step in plan["steps"]] == [
        "detect", "export-embeddings", "fit-transfer", "evaluate", "fit-transfer", "evaluate", "report",
    ]  # fmt: skip
    assert {step["state"] for step in plan["steps"]} == {"to do"}
    assert plan["seconds"] == pytest.approx(sum(step["seconds"] for step in plan["steps"]))
    assert sorted(path.name for path in project.iterdir()) == ["data", "maskx.toml"]

    assert run(["run"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "report.html"
    assert RIVAL in out
    assert OURS in out
    page = (project / "report.html").read_text(encoding="utf-8")
    assert "maskx fit-transfer --embedding none" in page
    recorded = json.loads((project / "runs" / "transfer" / OURS / "run.json").read_text())
    assert recorded["command"] == "maskx fit-transfer"

    monkeypatch.setattr("maskx_pipeline.stages.estimate.estimate_stages", lambda *_, **__: pytest.fail("timed"))
    times = {path: path.stat().st_mtime_ns for path in (project / "runs").rglob("*.safetensors")}
    assert run(["run", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert [step["state"] for step in done["plan"]["steps"]] == ["finished"] * 6 + ["to do"]
    assert times == {path: path.stat().st_mtime_ns for path in (project / "runs").rglob("*.safetensors")}


def test_interrupted_it_goes_on_where_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector is not trained again, and its time is no more in the plan."""
    monkeypatch.setattr("maskx_pipeline.stages.estimate.estimate_stages", estimated)
    with monkeypatch.context() as patch:
        patch.setattr(run_stage, "export_embeddings", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(["run"]) == 130
    weights = project / "runs" / "detector" / "last.safetensors"
    written = weights.stat().st_mtime_ns
    plan = run_plan.plan_run(settings(project))
    assert [step.state for step in plan.steps[:2]] == ["finished", "to do"]
    assert plan.steps[0].seconds == 0
    reached: list[Path] = []

    def export(config: ExportConfig, *_: object, **__: object) -> None:
        reached.append(config.out)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_stage, "export_embeddings", export)
    assert run(["run"]) == 130
    assert reached == [Path("runs/cache.h5")]
    assert weights.stat().st_mtime_ns == written


def test_what_is_half_done_takes_half_of_the_time(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the step that run.json has; reading the data comes on top."""
    monkeypatch.setattr("maskx_pipeline.stages.estimate.estimate_stages", estimated)
    folder = project / "runs" / "detector"
    folder.mkdir(parents=True)
    content = {
        "schema": 1, "stage": "detect", "status": "running", "identity": {}, "inputs": {},
        "config": {"iterations": 2}, "step": 1,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    detect, export, *_ = run_plan.plan_run(settings(project)).steps
    assert (detect.state, detect.done) == ("to be continued", 0.5)
    assert detect.seconds - export.seconds == pytest.approx(100 / 2 - 40)
    (folder / "run.json").write_text(json.dumps({**content, "status": "finished"}))
    longer = settings(project, detect=settings(project).detect.replace(iterations=8))
    assert run_plan.find_steps(longer)[0].done == 0.25
    assert run_plan.find_steps(settings(project))[0].state == "finished"
    again = run_plan.plan_run(settings(project), overwrite=True).steps[0]
    assert (again.state, again.done) == ("to do", 0.0)


def test_a_fit_is_half_done_by_its_steps(project: Path) -> None:
    """Whether its length was given, and is now asked for, in epochs or in iterations."""
    transfer = settings(project).transfer.replace(embedding="none", name="mine", rois_per_batch=8)
    folder = project / "runs" / "transfer" / "mine"
    folder.mkdir(parents=True)
    content = {
        "schema": 1, "stage": "fit-transfer", "status": "finished", "identity": {}, "inputs": {}, "config": {},
        "step": 20, "iterations": 20, "rois": 80,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(content))
    for length, state, done in (
        ({"epochs": 2.0}, "finished", 1.0),
        ({"epochs": 4.0}, "to be continued", 0.5),
        ({"iterations": 80}, "to be continued", 0.25),
        ({"iterations": 20, "epochs": 99.0}, "finished", 1.0),
    ):
        steps = run_plan.find_steps(settings(project, transfer=transfer.replace(**length)))
        [fit] = [step for step in steps if step.stage == "fit-transfer"]
        assert (fit.state, fit.done) == (state, done)


def test_the_steps_follow_the_settings(project: Path) -> None:
    """A detector of one's own needs no stage 1; a class-agnostic model is its own rival."""
    own = settings(project).export.replace(detector=Path("mine.py:Detector"))
    agnostic = settings(project).transfer.replace(embedding="none", name="mine")
    steps = run_plan.find_steps(settings(project, export=own, transfer=agnostic))
    assert [step.stage for step in steps] == ["export-embeddings", "fit-transfer", "evaluate", "report"]
    assert steps[1].place == project / "runs" / "transfer" / "mine"
    imported = run_plan.find_steps(settings(project, run=RunConfig(detector="import")))
    assert imported[0].command == "detect import"


def test_it_stops_before_anything_is_trained(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of somebody else, too small a disk, data that training would refuse."""
    monkeypatch.setattr("maskx_pipeline.stages.estimate.estimate_stages", estimated)
    (project / "report.html").write_text("<html>mine</html>")
    assert run(["run"]) == 1
    assert "report.html exists, and was not written by maskx" in capsys.readouterr().err
    (project / "report.html").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(run_stage, "free_disk", lambda folder: (folder, 100))
        assert run(["run"]) == 1
        assert "100 bytes free" in capsys.readouterr().err
    content = json.loads((project / "data" / "train.json").read_text())
    for entry in content["annotations"]:
        entry["segmentation"] = []
    (project / "data" / "train.json").write_text(json.dumps(content))
    assert run(["run"]) == 3
    assert "no mask" in capsys.readouterr().err
    assert not (project / "runs").exists()
