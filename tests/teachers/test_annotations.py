"""Training masks by a teacher, written into a copy of the annotation file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_teacher import Everything, LeftHalves, Nothing
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.errors import ConfigError, DataError, OutputError
from maskx_pipeline.teachers.annotations import read_teacher_report, write_teacher_annotations
from maskx_pipeline.teachers.teacher import Teacher

TRUE_MASK = [[20, 12, 40, 12, 40, 32]]
BOX = [18, 10, 24, 24]
DISC, DOT = 1, 2
"""Labels."""


@pytest.fixture
def train(tmp_path: Path) -> CocoData:
    """Two images; of the category `disc` one object has a mask, of `dot` too. One crowd, one object without area."""
    folder = tmp_path / "train"
    folder.mkdir()
    for number in (1, 2):
        Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    entries: list[dict[str, Any]] = [
        {"id": 7, "image_id": 2, "category_id": 3, "bbox": [0, 0, 64, 48], "note": "ä", "area": 1.5},
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": BOX, "segmentation": TRUE_MASK, "iscrowd": 0},
        {"id": 4, "image_id": 1, "category_id": 3, "bbox": BOX, "segmentation": TRUE_MASK, "iscrowd": 1},
        {"id": 5, "image_id": 1, "category_id": 5, "bbox": [5, 5, 0, 0], "segmentation": TRUE_MASK, "iscrowd": 0},
        {"id": 6, "image_id": 1, "category_id": 5, "bbox": BOX, "segmentation": TRUE_MASK, "iscrowd": 0},
    ]
    content = {
        "info": {"year": 1},
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48, "license": n} for n in (1, 2)],
        "annotations": entries,
        "categories": [{"id": 3, "name": "disc"}, {"id": 5, "name": "dot"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    return read_coco(tmp_path / "train.json", folder)


def write(train: CocoData, teacher: Teacher, **changes: Any) -> Path:
    out = train.path.parent / "made" / "teacher.json"
    options: dict[str, Any] = {"out": out, "keep": (DISC, DOT), "source": "teacher:halves#1", "workers": 1}
    return write_teacher_annotations(teacher, train, **options | changes)


def read(path: Path) -> dict[int, dict[str, Any]]:
    return {entry["id"]: entry for entry in json.loads(path.read_text())["annotations"]}


def test_a_box_without_a_mask_gets_the_teachers_and_all_else_stays_as_it_was(train: CocoData) -> None:
    """Keys, ids, order, crowds and true masks; the mask is marked, and ends at its box."""
    out = write(train, LeftHalves())
    before, after = (json.loads(path.read_text()) for path in (train.path, out))
    made = after["annotations"][0]
    mask = coco_mask.decode(made.pop("segmentation"))
    assert made.pop("mask_source") == "teacher:halves#1"
    assert mask[:, :32].all()
    assert not mask[:, 32:].any()
    assert after == before
    report = read_teacher_report(out)
    assert (report["objects"], report["whole boxes"], report["own masks"]) == (1, 0, 3)


def test_of_categories_that_are_not_kept_no_true_mask_is_left(train: CocoData) -> None:
    """Their masks are the teacher's; an entry that is not read loses its mask; a crowd, never learnt from, keeps it."""
    out = write(train, Everything(), keep=(DISC,))
    entries, before = read(out), read(train.path)
    assert coco_mask.area(entries[6]["segmentation"]) == 24 * 24
    assert "mask_source" in entries[6]
    assert "segmentation" not in entries[5]
    assert (entries[3], entries[4]) == (before[3], before[4])
    nobody = read(write(train, Everything(), keep=(), out=train.path.parent / "nobody.json"))
    assert {n for n, entry in nobody.items() if "mask_source" in entry} == {3, 6, 7}
    assert nobody[4] == before[4]


def test_where_the_teacher_finds_nothing_the_mask_is_the_whole_box_and_is_counted(train: CocoData) -> None:
    """An object needs a mask to be trained on."""
    out = write(train, Nothing())
    assert coco_mask.area(read(out)[7]["segmentation"]) == 64 * 48
    assert read_teacher_report(out)["whole boxes"] == 1


def test_masks_of_an_earlier_teacher_are_replaced(train: CocoData) -> None:
    """They are no masks of the data set's own, as read_coco reads it."""
    first = write(train, LeftHalves())
    again = read_coco(first, train.image_dir)
    out = write(again, Nothing(), out=train.path.parent / "again.json", source="teacher:other#2")
    assert read(out)[7]["mask_source"] == "teacher:other#2"
    assert coco_mask.area(read(out)[7]["segmentation"]) == 64 * 48


def test_the_number_of_threads_changes_nothing(train: CocoData) -> None:
    """The file is the same to the byte."""
    files = [
        write(train, LeftHalves(), workers=n, keep=(), out=train.path.parent / f"{n}.json").read_bytes()
        for n in (0, 1, 3)
    ]
    assert len(set(files)) == 1


def test_a_written_file_is_left_alone_and_another_is_never_replaced_unasked(train: CocoData) -> None:
    """Same teacher and data: nothing to do. Another, an edited file, or the training file itself: an error."""
    out = write(train, LeftHalves())
    written = out.stat().st_mtime_ns
    write(train, LeftHalves(), workers=3)
    assert out.stat().st_mtime_ns == written
    with pytest.raises(OutputError, match="teacher: left halves -> everything"):
        write(train, Everything())
    with pytest.raises(OutputError, match="keep"):
        write(train, LeftHalves(), keep=(DISC,))
    write(train, Everything(), overwrite=True)
    out.write_text("{}")
    with pytest.raises(OutputError, match="changed since"):
        write(train, Everything())
    with pytest.raises(ConfigError, match="training annotation file itself"):
        write(train, Everything(), out=train.path, overwrite=True)


def test_stopped_at_an_image_it_goes_on_with_that_one(train: CocoData) -> None:
    """The error names the image; there is no result until the end, and then it is as if nothing had happened."""
    whole = write(train, LeftHalves(), keep=(), out=train.path.parent / "whole.json").read_bytes()
    image = (train.image_dir / "2.png").read_bytes()
    (train.image_dir / "2.png").write_bytes(b"no image")
    out = train.path.parent / "made" / "teacher.json"
    with pytest.raises(DataError, match=r"2\.png"):
        write(train, LeftHalves(), keep=())
    assert not out.exists()
    (train.image_dir / "2.png").write_bytes(image)
    (train.image_dir / "1.png").write_bytes(b"no image")  # it is done, and not looked at again
    with pytest.raises(OutputError, match="everything"):
        write(train, Everything(), keep=())
    assert write(train, LeftHalves(), keep=()).read_bytes() == whole
    assert [path.name for path in out.parent.iterdir() if "partial" in path.name] == []
