"""The way of a teacher's masks: written, exported, trained on, and never measured against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import own_teacher
import pytest
from own_detector import SMALL, export, make_project
from safetensors.numpy import load_file

from maskx_pipeline.commands import run
from maskx_pipeline.data.coco import read_coco

CAT, COW = 3, 7
TINY = ["--rois-per-batch", "2"]
LEFT_HALVES = f"{own_teacher.__file__}:LeftHalves"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Masks for cats alone in train, for all in val."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    content = json.loads(Path("data/all.json").read_text())
    for entry in content["annotations"]:
        if entry["category_id"] == COW:
            entry["segmentation"] = []
    Path("data/train.json").write_text(json.dumps(content))
    monkeypatch.setenv("MASKX_DATA_TRAIN_ANNOTATIONS", "data/train.json")
    return tmp_path


def fit(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """run.json and the weights of a fit on the cache of the same name."""
    assert export("--out", f"runs/{name}.h5") == 0
    assert (
        run(
            [
                "fit-transfer",
                "--cache",
                f"runs/{name}.h5",
                "--embedding",
                "cls",
                "--form",
                "linear",
                "--name",
                name,
                *SMALL,
                *TINY,
            ]
        )
        == 0
    )
    folder = Path("runs/transfer") / name
    return json.loads((folder / "run.json").read_text()), load_file(folder / "last.safetensors")


def test_they_change_the_fit_and_leave_what_is_seen_as_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cows are trained on by the teacher's masks and stay unseen, so that their AP is that of an unseen category."""
    without, plain = fit("without")
    assert run(["convert", "teacher", LEFT_HALVES, "--out", "data/teacher.json"]) == 0
    monkeypatch.setenv("MASKX_DATA_TRAIN_ANNOTATIONS", "data/teacher.json")
    taught, weights = fit("taught")
    assert without["seen"] == taught["seen"] == [CAT]
    assert without["masks"] == taught["masks"] == {str(CAT): 2}
    assert taught["teacher_masks"] == {str(COW): 2}
    assert "teacher_masks" not in without
    assert any((plain[name] != weights[name]).any() for name in plain)


def test_true_masks_of_unseen_categories_never_reach_a_fit_beside_a_teachers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --keep of the seen ones, what their masks look like changes no bit of the weights."""
    Path("seen.txt").write_text("cat\n")
    fitted = []
    for name, polygon in (("one", [5, 5, 35, 5, 5, 25]), ("other", [30, 20, 35, 20, 35, 25])):
        content = json.loads(Path("data/all.json").read_text())
        for entry in content["annotations"]:
            if entry["category_id"] == COW:
                entry["segmentation"] = [polygon]
        Path(f"data/{name}.json").write_text(json.dumps(content))
        monkeypatch.setenv("MASKX_DATA_TRAIN_ANNOTATIONS", f"data/{name}.json")
        made = f"data/{name}-taught.json"
        assert run(["convert", "teacher", LEFT_HALVES, "--out", made, "--keep", "@seen.txt"]) == 0
        monkeypatch.setenv("MASKX_DATA_TRAIN_ANNOTATIONS", made)
        fitted.append(fit(name)[1])
    assert all((fitted[0][key] == fitted[1][key]).all() for key in fitted[0])


def test_nothing_is_measured_against_them(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Val with the teacher's masks of cows is evaluated as val without any: no AP of masks, and boxes as before."""
    fit("without")
    capsys.readouterr()
    reports = []
    content = json.loads(Path("data/train.json").read_text())
    for taught in (False, True):
        for entry in content["annotations"]:
            if entry["category_id"] == COW and taught:
                entry.update(segmentation=[[5, 5, 20, 5, 20, 25, 5, 25]], mask_source="teacher:halves#1")
        Path("data/val.json").write_text(json.dumps(content))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MASKX_DATA_VAL_ANNOTATIONS", "data/val.json")
            words = ["evaluate", "--from", "images", "--detector", "tiny.py:Tiny", "--json", "--overwrite"]
            assert run(words) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]
    assert reports[0]["sets"]["unseen"]["mask"]["AP"] is None
    assert reports[0]["sets"]["unseen"]["box"]["AP"] is not None


def test_a_second_teacher_is_asked_for_the_boxes_of_the_first(project: Path) -> None:
    """Its masks are no masks of the data set's own."""
    assert run(["convert", "teacher", LEFT_HALVES]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKX_DATA_TRAIN_ANNOTATIONS", "data/teacher.json")
        other = f"{own_teacher.__file__}:Everything"
        assert run(["convert", "teacher", other, "--out", "data/other.json"]) == 0
    made = read_coco(Path("data/other.json"), Path("data"), teacher_masks=True)
    sources = [entry.get("mask_source", "") for entry in json.loads(made.path.read_text())["annotations"]]
    assert [source.partition("#")[0] for source in sources] == ["", "teacher:Everything"] * 2
