"""The files by which maskx is handed on: container, notebook, workflows. What they name exists, and they run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import maskx_pipeline

ROOT = Path(__file__).parents[1]


def test_the_notebook_runs_the_quickstart_and_shows_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the folder in which it lies; the quickstart is a stand-in here that writes what the real one does."""
    checkout = tmp_path / "maskx"
    programs = {
        "pipelines/quickstart.sh": '#!/bin/sh\nmkdir -p "$1/predictions"\necho "| ours |" >"$1/comparison.md"\n'
        'touch "$1/report.html" "$1/predictions/000000.jpg" "$1/predictions/results.json"\n',
        ".venv/bin/maskx": '#!/bin/sh\necho "$(basename "$PWD"): $*"\n',
    }
    for name, text in programs.items():
        path = checkout / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    (checkout / "docs").mkdir()
    monkeypatch.chdir(checkout / "docs")
    shown: list[str] = []
    display = types.ModuleType("IPython.display")
    vars(display).update(
        display=lambda picture: None,
        Image=lambda filename: shown.append(Path(filename).name),
        IFrame=lambda source, **size: shown.append(source),
    )
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)

    notebook = json.loads((ROOT / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    assert shown == ["000000.jpg", "../quickstart/report.html"]
    printed = capsys.readouterr().out
    assert "| ours |" in printed
    assert "quickstart: evaluate --split unseen" in printed


def test_what_the_notebook_shows_is_what_the_quickstart_writes() -> None:
    """Else the stand-in above would hide it."""
    script = (ROOT / "pipelines" / "quickstart.sh").read_text()
    assert "report.html" in script
    assert "comparison.md" in script
    assert "maskx predict" in script


def test_the_container_gets_all_that_the_package_is_built_from() -> None:
    """Each file that is copied exists, and .dockerignore lets it in; setup.cfg has the extras."""
    text = (ROOT / "Dockerfile").read_text()
    (copied,) = re.findall(r"^COPY (.+) /src/$", text, re.MULTILINE)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied.split()) | {"maskx_pipeline"} == allowed
    assert all((ROOT / name).exists() for name in allowed)
    setup = (ROOT / "setup.cfg").read_text()
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)
    assert all(f"\n{extra} =\n" in setup for extra in extras.split(","))
    (torch,) = re.findall(r"torch>=(\d+\.\d+)$", setup, re.MULTILINE)
    assert f"pytorch:{torch}." in text  # the oldest that maskx takes, so that the base's own is kept


def test_the_workflows_call_what_the_checkout_has() -> None:
    """And the line that reads the version reads it."""
    yaml = pytest.importorskip("yaml", reason="needs the package `pyyaml`")
    folder = ROOT / ".github" / "workflows"
    steps = [
        step
        for path in sorted(folder.glob("*.yml"))
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
    ]
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    assert lines.count(".ci/run") == 2
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {line.split()[1] for line in lines if line.startswith("make ")} <= set(targets)
    (version,) = (line for line in lines if line.startswith("version="))
    done = subprocess.run(["bash", "-c", f"{version}; echo $version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == maskx_pipeline.__version__
