"""The three trainings, asked for again with more steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from docs_world import make_project, small_settings, write_coco

from maskx_pipeline.commands import run


@pytest.mark.slow
def test_each_training_goes_on_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own word for its length; the finished run of the same length is left alone."""
    (tmp_path / "coco").mkdir()
    write_coco(tmp_path / "coco")
    make_project(tmp_path / "project", tmp_path / "coco")
    for name, value in small_settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path / "project")
    model = "cls+box-rbf+xy+boxes"
    for words, length, folder in (
        (["detect", "train"], "iterations", "runs/detector"),
        (["export-embeddings"], "", ""),
        (["fit-transfer"], "epochs", f"runs/transfer/{model}"),
        (["e2e"], "iterations", f"runs/e2e/{model}"),
    ):
        assert run(words) == 0
        if not length:
            continue
        before = json.loads((Path(folder) / "run.json").read_text())
        if words[0] == "detect":  # what follows is made from these weights
            monkeypatch.setenv("MASKX_DETECT_OUT", "runs/longer")
            assert run(words) == 0
            folder = "runs/longer"
        assert run([*words, f"--{length}", "3"]) == 0
        after = json.loads((Path(folder) / "run.json").read_text())
        assert after["step"] > before["step"]
        assert after["prolonged"][0]["step"] == before["step"]
        assert f"{length}: {before['config'][length]} -> 3" in capsys.readouterr().err
        assert run([*words, f"--{length}", "3"]) == 0
        assert json.loads((Path(folder) / "run.json").read_text()) == after
    monkeypatch.delenv("MASKX_FIT_TRANSFER_EPOCHS")
    folder = Path(f"runs/transfer/{model}")
    before = json.loads((folder / "run.json").read_text())
    assert run(["fit-transfer", "--iterations", "1"]) == 1, "it has more"
    steps = before["iterations"] + 2
    assert run(["fit-transfer", "--iterations", str(steps)]) == 0
    assert f"iterations: null -> {steps}" in capsys.readouterr().err
    after = json.loads((folder / "run.json").read_text())
    assert (after["step"], after["prolonged"][-1]["before"]) == (steps, {"epochs": 3.0, "iterations": None})
    assert run(["fit-transfer", "--iterations", str(steps), "--epochs", "3"]) == 1
    assert "gives both epochs and iterations" in capsys.readouterr().err
    assert run(["fit-transfer", "--epochs", "9"]) == 0, "and back to epochs"
    assert json.loads((folder / "run.json").read_text())["step"] > steps
