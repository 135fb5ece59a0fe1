"""`maskx annotate` with a teacher beside the model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import own_teacher
import pytest
from annotate_world import HEIGHT, NAMES, WIDTH, annotate, entries, write_dataset
from pycocotools import mask as coco_mask

HALVES, EVERYTHING, NOTHING = (f"{own_teacher.__file__}:{name}" for name in ("LeftHalves", "Everything", "Nothing"))


def pixels(entry: dict[str, Any]) -> Any:
    rle = entry["segmentation"]
    if isinstance(rle, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(rle, HEIGHT, WIDTH))
    return coco_mask.decode(rle).astype(bool)


def in_box(entry: dict[str, Any], *, left_half: bool = False) -> Any:
    x, y, width, height = entry["bbox"]
    right, bottom = x + (width // 2 if left_half else width), y + height
    return pixels({"segmentation": [[x, y, right, y, right, bottom, x, bottom]]})


def test_the_agreement_with_the_teacher_stands_beside_the_confidence(project: Path) -> None:
    """It is the IoU of the two masks, worked out from what is written; masks and all else are as without a teacher."""
    annotate(project, "boxes.json", "--out", "alone.json", "--mask-format", "rle")
    counts = json.loads(
        annotate(project, "boxes.json", "--second-opinion", HALVES, "--mask-format", "rle", "--json").stdout
    )
    alone, after = entries(project / "alone.json"), entries(project / "annotated.json")
    filled = [n for n, entry in after.items() if "mask_source" in entry]
    agreements = []
    for number in filled:
        entry = after[number]
        agreement, source = entry.pop("mask_agreement"), entry.pop("second_opinion")
        assert source.startswith("teacher:LeftHalves#")
        mine, other = pixels(entry), in_box(entry, left_half=True)
        assert agreement == pytest.approx((mine & other).sum() / (mine | other).sum(), abs=1e-4)
        agreements.append(agreement)
    assert after == alone
    assert 0 < min(agreements) < 1
    assert counts["agreement"] == pytest.approx(sum(agreements) / len(agreements), abs=1e-3)
    assert counts["disagreements"] == sum(agreement < 0.5 for agreement in agreements)
    assert counts["by_teacher"] == 0


def test_the_worklist_begins_with_what_the_two_disagree_on(project: Path) -> None:
    """Boxes without a mask, then a line for each filled mask; the review has the same table, and says why to look."""
    done = annotate(project, "boxes.json", "--second-opinion", HALVES, "--review", "review")
    assert "mean agreement with LeftHalves" in done.stdout
    after = entries(project / "annotated.json")
    text = (project / "annotated.worklist.csv").read_text(encoding="utf-8")
    assert text == (project / "review" / "worklist.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == [
        "file_name", "annotation_id", "category", "confidence", "reason", "agreement", "mask_by",
    ]  # fmt: skip
    kinds = [bool(row["agreement"]) for row in rows]
    assert kinds == sorted(kinds)
    filled = [row for row in rows if row["agreement"]]
    agreements = [float(row["agreement"]) for row in filled]
    assert agreements == sorted(agreements)
    assert {int(row["annotation_id"]) for row in filled} == {n for n, e in after.items() if "mask_source" in e}
    for row in filled:
        entry = after[int(row["annotation_id"])]
        assert row["file_name"] == {1: "a.png", 2: "b.png"}[entry["image_id"]]
        assert row["category"] == {3: NAMES[0], 2: NAMES[1], 1: NAMES[2]}[entry["category_id"]]
        assert (float(row["confidence"]), row["mask_by"]) == (entry["mask_confidence"], "model")
        assert ("second opinion" in row["reason"]) == (entry["mask_agreement"] < 0.5)


def test_a_teacher_that_finds_nothing_agrees_with_nobody(project: Path) -> None:
    """It has no opinion that could confirm a mask."""
    counts = json.loads(annotate(project, "boxes.json", "--second-opinion", NOTHING, "--json").stdout)
    assert counts["agreement"] == 0
    assert counts["disagreements"] == counts["filled"] > 0


def test_another_teacher_is_another_result(project: Path) -> None:
    """It is named, and nothing is replaced unasked."""
    annotate(project, "boxes.json", "--second-opinion", HALVES)
    assert "unchanged" in annotate(project, "boxes.json", "--second-opinion", HALVES).stderr
    error = annotate(project, "boxes.json", "--second-opinion", EVERYTHING, code=1).stderr
    assert "second opinion: left halves -> everything" in error
    assert "second opinion" in annotate(project, "boxes.json", code=1).stderr
    error = annotate(project, "boxes.json", "--second-opinion", HALVES, "--best-of", NOTHING, code=1).stderr
    assert "two teachers" in error
    assert "--second-opinion" in annotate(project, "boxes.json", "--second-opinion", "samm", code=1).stderr


def measured(project: Path, *, left: int, whole: int) -> None:
    """Val of [data]: true masks of the first category, so many that are left halves of their boxes, and whole ones."""
    boxes = [[4 + n % 9, 5, 40, 30] for n in range(left + whole)]
    made = []
    for number, (x, y, width, height) in enumerate(boxes):
        right = x + (width // 2 if number < left else width)
        made.append({"bbox": boxes[number], "segmentation": [[x, y, right, y, right, y + height, x, y + height]]})
    write_dataset(project, {"a.png": "RGB", "b.png": "RGB"}, made, name="val.json")
    toml = (project / "maskx.toml").read_text()
    (project / "maskx.toml").write_text(toml.replace("'boxes.json'", "'val.json'"))


def test_the_better_one_on_val_gives_a_category_its_masks(project: Path) -> None:
    """Where the true masks are left halves, the teacher of left halves is taken: marked as such, with the IoU that it
    is known for as confidence; where they fill the box, the model, whose masks do so nearly."""
    measured(project, left=12, whole=0)
    images = ("--images", str(project / "images"), "--mask-format", "rle")
    done = annotate(project, "boxes.json", "--best-of", HALVES, *images)
    assert "LeftHalves has the higher mask IoU in 3 of 3 categories" in done.stderr
    after = entries(project / "annotated.json")
    filled = [entry for entry in after.values() if "mask_source" in entry]
    assert len(filled) >= 2
    for entry in filled:
        assert entry["mask_source"].startswith("teacher:LeftHalves#")
        assert entry["second_opinion"].startswith("maskx:tiny#")
        assert entry["mask_confidence"] == 1
        assert (pixels(entry) == in_box(entry, left_half=True)).all()
    note = json.loads((project / "annotated.report.json").read_text())
    assert note["best of"][0]["teacher_iou"] == pytest.approx(100)
    assert [choice["of_kind"] for choice in note["best of"]] == [False, True, True]
    measured(project, left=0, whole=12)
    done = annotate(project, "boxes.json", "--best-of", HALVES, *images, "--overwrite")
    assert "in 0 of 3 categories" in done.stderr
    sources = [e["mask_source"] for e in entries(project / "annotated.json").values() if "mask_source" in e]
    assert all(source.startswith("maskx:") for source in sources)


def test_masks_of_the_better_teacher_are_reviewed_rejected_and_chosen_as_others(project: Path) -> None:
    """The wanted IoU is that of the masks taken; a rejected one leaves no trace."""
    measured(project, left=12, whole=0)
    images = ("--images", str(project / "images"), "--mask-format", "rle")
    done = annotate(project, "boxes.json", "--best-of", HALVES, "--wanted-iou", "0.99", "--review", "review", *images)
    assert "12 of 12 have it, with a mean IoU of 100.0" in done.stdout
    rows = list(csv.DictReader((project / "review" / "worklist.csv").read_text(encoding="utf-8").splitlines()))
    filled = [int(row["annotation_id"]) for row in rows if row["mask_by"] == "LeftHalves"]
    assert len(filled) >= 2
    assert filled == [int(row["annotation_id"]) for row in rows if row["agreement"]]
    again = annotate(project, "boxes.json", "--best-of", HALVES, "--wanted-iou", "0.99", "--review", "review", *images)
    assert "review is finished and unchanged" in again.stderr
    (project / "decisions.csv").write_text(f"annotation_id,decision\n{filled[0]},rejected\n")
    annotate(project, "annotated.json", "--rejected", "decisions.csv", "--out", "reviewed.json")
    emptied = entries(project / "reviewed.json")[filled[0]]
    assert emptied["segmentation"] == []
    assert not {"mask_source", "mask_confidence", "mask_agreement", "second_opinion"} & emptied.keys()


def test_where_the_better_teacher_finds_nothing_the_model_stays(project: Path, tmp_path: Path) -> None:
    """A box is not left empty that the model fills."""
    own = tmp_path / "shy.py"
    own.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(own_teacher.__file__).parent)!r})\n"
        "import own_teacher\n\nclass Shy(own_teacher.LeftHalves):\n"
        "    def masks(self, image, boxes):\n"
        "        for box, mask in zip(boxes, super().masks(image, boxes)):\n"
        "            yield mask & (box[2] - box[0] == 40)\n"
    )
    measured(project, left=12, whole=0)
    annotate(project, "boxes.json", "--best-of", f"{own}:Shy", "--images", str(project / "images"))
    after = entries(project / "annotated.json")
    by = {e["bbox"][2]: e["mask_source"].partition(":")[0] for e in after.values() if "mask_source" in e}
    assert by[40] == "teacher"
    assert by.get(46, "maskx") == "maskx"


def test_both_are_measured_on_the_same_hidden_masks(project: Path) -> None:
    """The teacher beside the model: in a sentence, a line of the sets and a column of the categories."""
    measured(project, left=3, whole=1)
    report = json.loads(annotate(project, "val.json", "--evaluate", "--second-opinion", HALVES, "--json").stdout)
    assert report["teacher"] == "LeftHalves"
    assert report["sets"]["all"]["teacher_mask_iou"] == pytest.approx((3 * 100 + 50) / 4)
    assert report["categories"][0]["teacher_mask_iou"] == pytest.approx((3 * 100 + 50) / 4)
    text = annotate(project, "val.json", "--evaluate", "--second-opinion", HALVES).stdout
    assert text.count("LeftHalves") == 3
    assert "87.5" in text
    alone = annotate(project, "val.json", "--evaluate").stdout
    assert "LeftHalves" not in alone
    assert not (project / "annotated.json").exists()
