"""What a command imports, where there is nothing for torch to do: a person waits for it at every start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_world import make_study
from tiny_project import SAVED, maskx, shapes_of, write_settings

from maskx_pipeline.stages.run_plan import Plan, find_steps

ROOT = Path(__file__).parents[2]
TORCH = ("torch",)
PARTS = ("torchvision", "torch._dynamo")
"""What takes longest after torch itself."""

RUN = """
import json, sys
from maskx_pipeline.commands import run
modules, calls = map(json.loads, sys.argv[1:])
outcomes = []
for words in calls:
    code = run(words)
    outcomes.append([code, [name for name in modules if name in sys.modules]])
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with evaluated runs."""
    return make_study(tmp_path_factory.mktemp("study")).project


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


def imported(folder: Path, modules: tuple[str, ...], *calls: list[str]) -> list[tuple[int, list[str]]]:
    """Run commands one after the other in a process of their own.

    Returns:
        For each its exit code, and which of these modules it or one before it imported.
    """
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(modules), json.dumps(calls)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [(code, found) for code, found in json.loads(done.stdout.splitlines()[-1])]


def none_of(modules: tuple[str, ...], folder: Path, *calls: list[str], code: int = 0) -> None:
    """Check that these commands end with this code, and import none of the modules."""
    outcomes = zip(calls, imported(folder, modules, *calls), strict=True)
    assert [outcome for outcome in outcomes if outcome[1] != (code, [])] == []


def test_runs_are_shown_without_torch(study: Path) -> None:
    """They are numbers in files."""
    report = ["report", "runs/transfer/agnostic", "--overwrite"]
    none_of(TORCH, study, ["compare", "runs/transfer/agnostic"], report, [*report, "--images", "0"])


def test_the_data_are_checked_and_a_project_is_made_without_torch(finished: Path, tmp_path: Path) -> None:
    """doctor measures nothing but with --estimate; init writes maskx.toml from paths."""
    place = finished / "data" / "shapes"
    words = ["init", "--project", str(tmp_path)]
    for part in ("train", "val"):
        words += [f"--{part}-images", str(place / part), f"--{part}-annotations", str(place / f"{part}.json")]
    none_of(TORCH, finished, ["doctor"], words)


def test_rejected_masks_are_emptied_without_torch(tmp_path: Path) -> None:
    """They are text in a file."""
    entry = {"id": 1, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4]], "mask_source": "maskx:a#1"}
    (tmp_path / "a.json").write_text(json.dumps({"annotations": [entry]}), encoding="utf-8")
    (tmp_path / "d.csv").write_text("annotation_id\n1\n", encoding="utf-8")
    (tmp_path / "maskx.toml").write_text("[data]\n", encoding="utf-8")
    none_of(TORCH, tmp_path, ["annotate", "a.json", "--rejected", "d.csv", "--out", "b.json"])


def test_what_is_finished_is_known_without_torchvision(finished: Path) -> None:
    """By settings, run.json and the digests of files: the detector is not built for that.

    An evaluation from the cache computes its masks anew without it, too. A fit that really trains imports
    torch._dynamo: PyTorch's SGD does so where it is made.
    """
    evaluation = ["evaluate", "--from", "cache"]
    stages = [["detect", "train"], ["export-embeddings"], ["fit-transfer"], evaluation, ["run"]]
    none_of(PARTS, finished, *stages, [*evaluation, "--overwrite"])


def test_what_is_finished_is_compared_all_the_same(finished: Path) -> None:
    """Another detector, other settings of the cache, and settings that no detector has."""
    maskx(finished, "detect", "train", "--out", "runs/other", "--seed", "5")
    other = maskx(finished, "export-embeddings", "--detector", "runs/other", code=1)
    assert "made from something else:\n  detector" in other.stderr
    assert "roi-size: 4 -> 6" in maskx(finished, "export-embeddings", "--roi-size", "6", code=1).stderr
    assert "seed" in maskx(finished, "detect", "train", "--seed", "5", code=1).stderr
    assert "anchor-sizes has 2" in maskx(finished, "detect", "train", "--anchor-sizes", "4,8", code=1).stderr


def test_transformers_is_imported_only_where_sam_is_asked(finished: Path) -> None:
    """It is an extra, and takes seconds."""
    none_of(
        ("transformers", "huggingface_hub"),
        finished,
        ["evaluate", "--from", "cache"],
        ["evaluate", "--teacher", "grabcut", "--boxes", "given"],
        ["convert", "teacher", "grabcut", "--keep", "none"],
    )


def test_onnxruntime_is_imported_only_where_it_is_taken(finished: Path) -> None:
    """It is an extra, and so are the packages that write its graph."""
    none_of(("onnxruntime", "onnx", "onnxscript"), finished, ["predict", "--limit", "1", "--overwrite"])


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        (0, [["--help"], ["fit-transfer", "--help"]]),
        (
            1,
            [
                ["evaluate", "--model", "nothing"],
                ["evaluate", "--runs", "nothing"],
                ["predict", "--model", "nothing"],
                ["annotate", "maskx.toml", "--model", "nothing"],
                ["export-model", "--model", "nothing"],
                ["contact-sheet", "--model", "runs"],
                ["export-embeddings", "--detector", "nothing"],
                ["fit-transfer", "--cache", "nothing.h5"],
                ["e2e", "--init", "nothing"],
                ["tune"],
            ],
        ),
        (
            2,
            [
                ["compare", "runs/transfer/nothing"],
                ["report", "runs/transfer/nothing"],
                ["detect", "train", "--iterations", "many"],
            ],
        ),
    ],
)
def test_help_and_a_missing_run_need_no_torch(study: Path, code: int, calls: list[list[str]]) -> None:
    """The answer is there at once."""
    none_of(TORCH, study, *calls, code=code)


def test_missing_data_are_known_at_once(tmp_path: Path) -> None:
    """By their place in maskx.toml."""
    (tmp_path / "maskx.toml").write_text("", encoding="utf-8")
    calls = [["detect", "train"], ["export-embeddings"], ["fit-transfer"], ["tune"], ["e2e"], ["run"]]
    none_of(TORCH, tmp_path, *calls, code=1)
