"""Every stage that writes results, by two processes: to the last byte what one writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ranks_world import contents, maskx

pytestmark = pytest.mark.slow

RESULTS = ("results.json", "results_bbox.json", "box-iou.json", "ap-all.json")


@pytest.mark.parametrize("source", ["cache", "images"])
def test_two_processes_evaluate_what_one_does(source: str, project: Path) -> None:
    """The table is printed once, and a second call returns at once; what was lost is measured again."""
    command = ("evaluate", "--from", source, "--split", "all", "--json")
    folder = project / f"runs/transfer/one/evaluation/{source}-best"
    alone = maskx(project, *command)
    expected = contents(folder, *RESULTS)
    shutil.rmtree(folder)
    together = maskx(project, *command, processes=2)
    assert contents(folder, *RESULTS) == expected
    assert json.loads(together.stdout) == json.loads(alone.stdout)
    (folder / "box-iou.json").unlink()
    assert maskx(project, *command, processes=2).stdout == together.stdout
    assert contents(folder, *RESULTS) == expected


def test_a_teacher_is_asked_by_two_processes_too(project: Path) -> None:
    found = []
    for processes in (1, 2):
        out = project / f"teacher-{processes}"
        maskx(project, "evaluate", "--teacher", "grabcut", "--out", str(out), processes=processes)
        found.append(contents(out / "evaluation/cache", "results.json", "results_bbox.json"))
    assert found[0] == found[1]


def test_training_masks_by_a_teacher_are_made_by_two_processes_too(project: Path) -> None:
    """What it came to is said once."""
    words = ("convert", "teacher", "grabcut", "--keep", "none", "--out")
    for processes in (1, 2):
        maskx(project, *words, f"taught-{processes}.json", processes=processes)
    expected = (project / "taught-1.json").read_bytes()
    assert b"mask_source" in expected
    assert (project / "taught-2.json").read_bytes() == expected
    assert "is finished and unchanged" in maskx(project, *words, "taught-2.json", processes=2).stderr
    again = maskx(project, *words, "taught-2.json", "--overwrite", processes=2).stderr
    assert again.count("masks by teacher:grabcut") == 1
    assert (project / "taught-2.json").read_bytes() == expected


@pytest.mark.parametrize(
    "options", [(), ("--batch", "2", "--score-threshold", "0.01"), ("--runtime", "onnx", "--device", "cpu")]
)
def test_two_processes_predict_what_one_does(options: tuple[str, ...], project: Path) -> None:
    """Overlays too; the share of one process may hold no image that can be read."""
    images = project / "in"
    shutil.copytree(project / "data/shapes/val", images)
    (images / "0-broken.jpg").write_bytes(b"no image")
    for processes in (1, 2):
        words = ("predict", str(images), "--out", f"out-{processes}", *options)
        done = maskx(project, *words, processes=processes)
        assert done.stdout.split() == [f"out-{processes}"]
        assert done.stderr.count("0-broken.jpg") == 1
    alone, together = (contents(project / f"out-{processes}") for processes in (1, 2))
    assert len(alone) > 7
    assert alone == together
    said = maskx(project, *words, processes=2, code=None).stderr
    assert "results.json exists" in said


def test_images_that_nobody_can_read_are_one_error(project: Path) -> None:
    (project / "in").mkdir()
    for name in "abc":
        (project / f"in/{name}.jpg").write_bytes(b"no image")
    said = maskx(project, "predict", "in", "--out", "out", processes=2, code=None).stderr
    assert "c.jpg" in said
    assert said.count("Error: ") >= 1


def test_two_processes_annotate_what_one_does(project: Path) -> None:
    """The file, its report and the evidence of its confidence."""
    for name, processes in (("1", 1), ("2", 2)):
        (project / name).mkdir()
        words = ("annotate", "boxes.json", "--images", "data/shapes/val", "--out", f"{name}/out.json")
        maskx(project, *words, "--review", f"{name}/review", processes=processes)
    alone, together = (contents(project / name, "out.json", "out.quality.json") for name in "12")
    assert alone == together
    assert (project / "2/review/index.html").is_file()
    assert not list((project / "2").glob("*.partial"))


def test_annotate_goes_on_by_another_number_of_processes(project: Path) -> None:
    """After an interruption by one, then by two: the journal's images are not done again."""
    words = ("annotate", "boxes.json", "--images", "data/shapes/val", "--out")
    maskx(project, *words, "whole.json")
    missing = project / "data/shapes/val" / sorted(p.name for p in (project / "data/shapes/val").iterdir())[2]
    aside = project / "aside"
    shutil.move(missing, aside)
    maskx(project, *words, "again.json", processes=2, code=None)  # one image cannot be read: it goes on later
    journal = project / "again.json.partial"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 6
    journal.write_bytes(b"".join(lines[:4]))
    shutil.move(aside, missing)
    said = maskx(project, *words, "again.json", processes=3).stderr
    assert "3 of 7 images were done before" in said
    assert (project / "again.json").read_bytes() == (project / "whole.json").read_bytes()
    assert not journal.exists()
