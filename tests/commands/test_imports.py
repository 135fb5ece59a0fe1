"""What a command imports, where there is nothing for torch to do: a person waits for it at every start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from own_detector import SMALL, export, make_project
from report_world import make_study
from tiny_project import SAVED, maskx, shapes_of, write_settings

from maskx_pipeline.commands import run
from maskx_pipeline.stages.run_plan import Plan, find_steps

ROOT = Path(__file__).parents[2]
TORCH = ("torch",)
PARTS = ("torchvision", "torch._dynamo")
"""What takes longest after torch itself."""

RUN = """
import json, sys
from maskx_pipeline.commands import run
code = run(sys.argv[2:])
found = [name for name in json.loads(sys.argv[1]) if name in sys.modules]
print(json.dumps([code, found]))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with evaluated runs."""
    return make_study(tmp_path_factory.mktemp("study")).project


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a RoI cache, and a model of it that is fitted and evaluated."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_project(folder)
        assert export() == 0
        assert run(["fit-transfer", "--embedding", "cls", "--name", "tiny", *SMALL]) == 0
        assert run(["evaluate", "--from", "cache"]) == 0
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which `maskx run` has done everything, with a detector of maskx."""
    folder = tmp_path_factory.mktemp("finished")
    maskx(folder, "init", *shapes_of(train=8, val=4))
    small = {"roi-size": 4, "mask-size": 8, "rois-per-object": 1}
    fit = {"head-width": 8, "head-depth": 1, "epochs": 1, "rois-per-batch": 8}
    tables = {"detect": SAVED, "export-embeddings": small, "fit-transfer": fit, "report": {"images": 0}}
    write_settings(folder, tables)
    maskx(folder, "detect", "train")
    maskx(folder, "export-embeddings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maskx_pipeline.stages.run.plan_run", lambda settings, **_: Plan(find_steps(settings)))
        maskx(folder, "run")
    return folder


def imported(folder: Path, modules: tuple[str, ...], *words: str) -> tuple[int, list[str]]:
    """Run a command in a process of its own: its exit code, and which of these modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(modules), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    code, found = json.loads(done.stdout.splitlines()[-1])
    return code, found


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "runs/transfer/agnostic"],
        ["report", "runs/transfer/agnostic", "--overwrite"],
        ["report", "runs/transfer/agnostic", "--images", "0", "--overwrite"],
    ],
)
def test_runs_are_shown_without_torch(study: Path, words: list[str]) -> None:
    """They are numbers in files."""
    assert imported(study, TORCH, *words) == (0, [])


def test_the_data_are_checked_without_torch(fitted: Path) -> None:
    """doctor measures nothing but with --estimate."""
    assert imported(fitted, TORCH, "doctor") == (0, [])


def test_a_project_is_made_without_torch(fitted: Path, tmp_path: Path) -> None:
    """init writes maskx.toml from paths."""
    data = [str(fitted / "data"), str(fitted / "data" / "all.json")]
    words = ["init", "--train-images", data[0], "--train-annotations", data[1]]
    words += ["--val-images", data[0], "--val-annotations", data[1]]
    assert imported(tmp_path, TORCH, *words) == (0, [])


def test_rejected_masks_are_emptied_without_torch(tmp_path: Path) -> None:
    """They are text in a file."""
    entry = {"id": 1, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4]], "mask_source": "maskx:a#1"}
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [entry]}), encoding="utf-8")
    (tmp_path / "d.csv").write_text("annotation_id\n1\n", encoding="utf-8")
    (tmp_path / "maskx.toml").write_text("[data]\n", encoding="utf-8")
    assert imported(tmp_path, TORCH, "annotate", "a.json", "--rejected", "d.csv", "--out", "b.json") == (0, [])


@pytest.mark.parametrize(
    "words",
    [
        ["fit-transfer", "--embedding", "cls", "--name", "tiny", *SMALL],
        ["evaluate", "--from", "cache"],
        ["evaluate", "--from", "cache", "--overwrite"],
    ],
)
def test_the_cache_is_read_without_torchvision(fitted: Path, words: list[str]) -> None:
    """A fit that is finished and unchanged, and an evaluation, also one that computes the masks anew.

    A fit that really trains imports torch._dynamo: PyTorch's SGD does so where it is made.
    """
    assert imported(fitted, PARTS, *words) == (0, [])


@pytest.mark.parametrize("words", [["detect", "train"], ["export-embeddings"], ["run"]])
def test_what_is_finished_is_known_without_torchvision(finished: Path, words: list[str]) -> None:
    """By settings, run.json and the digests of files; the detector is not built for that."""
    assert imported(finished, PARTS, *words) == (0, [])


def test_what_is_finished_is_compared_all_the_same(finished: Path) -> None:
    """Another detector, other settings of the cache, and settings that no detector has."""
    maskx(finished, "detect", "train", "--out", "runs/other", "--seed", "5")
    other = maskx(finished, "export-embeddings", "--detector", "runs/other", code=1)
    assert "made from something else:\n  detector" in other.stderr
    assert "roi-size: 4 -> 6" in maskx(finished, "export-embeddings", "--roi-size", "6", code=1).stderr
    assert "seed" in maskx(finished, "detect", "train", "--seed", "5", code=1).stderr
    assert "anchor-sizes has 2" in maskx(finished, "detect", "train", "--anchor-sizes", "4,8", code=1).stderr


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "--from", "cache"],
        ["evaluate", "--teacher", "grabcut", "--boxes", "given"],
        ["convert", "teacher", "grabcut", "--keep", "none"],
    ],
)
def test_transformers_is_imported_only_where_sam_is_asked(fitted: Path, words: list[str]) -> None:
    """It is an extra, and takes seconds."""
    assert imported(fitted, ("transformers", "huggingface_hub"), *words) == (0, [])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["fit-transfer", "--help"], 0),
        (["compare", "runs/transfer/nothing"], 2),
        (["report", "runs/transfer/nothing"], 2),
        (["evaluate", "--model", "nothing"], 1),
        (["evaluate", "--runs", "nothing"], 1),
        (["predict", "--model", "nothing"], 1),
        (["annotate", "maskx.toml", "--model", "nothing"], 1),
        (["export-model", "--model", "nothing"], 1),
        (["contact-sheet", "--model", "runs"], 1),
        (["export-embeddings", "--detector", "nothing"], 1),
        (["fit-transfer", "--cache", "nothing.h5"], 1),
        (["e2e", "--init", "nothing"], 1),
        (["tune"], 1),
        (["detect", "train", "--iterations", "many"], 2),
    ],
)
def test_help_and_a_missing_run_need_no_torch(study: Path, words: list[str], code: int) -> None:
    """The answer is there at once."""
    assert imported(study, TORCH, *words) == (code, [])


def test_missing_data_are_known_at_once(study: Path, tmp_path: Path) -> None:
    """By their place in maskx.toml."""
    (tmp_path / "maskx.toml").write_text("", encoding="utf-8")
    for words in (["detect", "train"], ["export-embeddings"], ["fit-transfer"], ["tune"], ["e2e"], ["run"]):
        assert imported(tmp_path, TORCH, *words) == (1, [])
