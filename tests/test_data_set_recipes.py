"""Open Images and Objects365 from their own files to masks of all their categories: the recipes on small samples."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from docs_world import small_settings, write_coco
from maskx_in_process import run_script

from maskx_pipeline.commands import cli
from maskx_pipeline.project import read_project

PIPELINES = Path(__file__).parents[1] / "pipelines"
STAND_IN = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case $1 in
  init) printf '[data]\n\n[detect]\nlr = 0.0025\n\n[e2e]\nlr = 0.0025\n' >maskx.toml ;;
  fit-transfer) echo runs/transfer/model ;;
esac
"""


@pytest.fixture(scope="module")
def samples() -> ModuleType:
    path = Path(__file__).parent / "convert" / "generate_samples.py"
    spec = importlib.util.spec_from_file_location("generate_samples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and annotations with COCO's categories, of which half have masks."""
    folder = tmp_path_factory.mktemp("coco")
    write_coco(folder)
    return folder


@pytest.mark.parametrize(
    ("recipe", "words", "said"),
    [
        ("open_images", ["annotate", "predict", "compare"], "--train-annotations data/oi/train.json"),
        ("objects365", ["predict", "compare"], "--masks-category-map data/o365/category-map.json"),
    ],
)
def test_a_folder_that_is_no_project_becomes_one(tmp_path: Path, recipe: str, words: list[str], said: str) -> None:
    """Convert, init, then the stages with maskx's default design; every call is valid, and the backbone an option."""
    calls = _run_with_stand_in(recipe, tmp_path, BACKBONE="resnet50")
    stages = ["convert", "detect", "export-embeddings", "fit-transfer", "evaluate", *words]
    assert [call.split()[0] for call in calls] == ["convert", "init", *stages[1:]]
    assert said in calls[1]
    assert calls[4] == "fit-transfer --split masked --embedding cls+box"
    assert read_project(tmp_path).tables["detect"]["backbone"] == "resnet50"
    assert [call.split()[0] for call in _run_with_stand_in(recipe, tmp_path)] == stages
    for call in calls:
        name, *rest = call.split()
        command: click.Command = cli
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), name)
            assert found is not None, call
            command = found
            if isinstance(command, click.Group):
                name, *rest = rest
        paths = [item for item in command.params if isinstance(item.type, click.Path)]
        for item in paths:
            item.type.exists = False
        command.make_context(name, rest, resilient_parsing=True)


@pytest.mark.slow
def test_open_images_from_its_files_to_masks(samples: ModuleType, coco: Path, tmp_path: Path) -> None:
    """Half of the categories have masks; the boxes of val get theirs, and counts are those of the sample."""
    folder = tmp_path / "data" / "open-images"
    train = samples.Sample(coco / "masked.json", coco / "images" / "train")
    val = samples.Sample(coco / "masked.json", coco / "images" / "train")
    val.content["images"] = val.content["images"][:4]
    kept = {image["id"] for image in val.content["images"]}
    val.content["annotations"] = [entry for entry in val.content["annotations"] if entry["image_id"] in kept]
    samples.as_open_images(train, folder, "train")
    samples.as_open_images(val, folder, "validation")
    _run(PIPELINES / "open_images.sh", tmp_path)
    report = json.loads((tmp_path / "data" / "oi" / "report.json").read_text())
    for split, sample in (("train", train), ("val", val)):
        assert tuple(report["splits"][split].values()) == sample.counts()
    filled = json.loads((tmp_path / "open-images-val.report.json").read_text())["counts"]
    assert filled["annotations"] == val.counts()[1]
    assert filled["masked"] == val.counts()[2]


@pytest.mark.slow
def test_objects365_from_its_files_to_masks(samples: ModuleType, coco: Path, tmp_path: Path) -> None:
    """Boxes of the one, masks of the other; categories that COCO does not have are segmented too."""
    for split in ("train", "val"):
        file = "masked" if split == "train" else "val"
        sample = samples.Sample(coco / f"{file}.json", coco / "images" / split)
        samples.as_objects365(sample, tmp_path / "data" / "objects365", split)
        samples.as_coco(sample, tmp_path / "data" / "coco", split)
    _run(PIPELINES / "objects365.sh", tmp_path)
    (run,) = (tmp_path / "runs" / "transfer").iterdir()
    content = json.loads((run / "run.json").read_text())
    assert len(content["categories"]) == 82
    assert 0 < len(content["seen"]) < 80
    assert (tmp_path / "predictions" / "results.json").is_file()


def _run(recipe: Path, folder: Path) -> None:
    environment = {**os.environ, **small_settings(), "OMP_NUM_THREADS": "1", "MASKX_PREDICT_SCORE_THRESHOLD": "0"}
    for _ in range(2):
        done = run_script(recipe, str(folder), environment=environment)
        assert done.returncode == 0, done.stderr[-6000:]
        assert "run " in done.stdout
    assert done.stderr.count("unchanged") >= 3


def _run_with_stand_in(recipe: str, project: Path, **environment: str) -> list[str]:
    """How the recipe called maskx."""
    stand_in, calls = project / "stand-in", project / "calls.txt"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    calls.unlink(missing_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name not in ("BACKBONE", "IMAGES", "GPUS")}
    settings = {"MASKX": str(stand_in), "CALLS": str(calls)}
    subprocess.run(
        ["bash", str(PIPELINES / f"{recipe}.sh"), str(project)],
        env={**inherited, **settings, **environment},
        check=True,
        capture_output=True,
    )
    return calls.read_text().splitlines()
