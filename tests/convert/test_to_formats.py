"""`maskx convert to`: what other tools are given, and that it comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from formats_world import HEIGHT, NAMES, WIDTH, counts, maskx, write_dataset
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.convert.one_polygon import one_polygon


def hand_over(folder: Path, tool: str, *more: str, first_id: int = 1) -> Path:
    """Convert the small data set for a tool; the folder."""
    path = write_dataset(folder, first_id=first_id)
    maskx("convert", "to", tool, str(path), "--images", str(folder / "images"), *more)
    return folder / f"boxes-for-{tool}"


def area(segmentation: Any) -> int:
    """Pixels that pycocotools sees."""
    if isinstance(segmentation, dict):
        rle = segmentation
        if isinstance(rle["counts"], list):
            rle = coco_mask.frPyObjects(rle, HEIGHT, WIDTH)
        return int(coco_mask.area(rle))
    return int(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(segmentation, HEIGHT, WIDTH))))


@pytest.mark.parametrize(
    ("name", "areas"),
    [
        ("yolo", [100, 116, 144]),  # a polygon has no hole
        ("voc", [100, 16, 128]),  # one pixel, one object: of two on the same pixels the smaller one lies on top
        ("labelme", [100, 116, 144]),
    ],
)
def test_there_and_back_images_boxes_masks_and_categories_are_the_same(
    tmp_path: Path, name: str, areas: Sequence[int]
) -> None:
    """Boxes without masks stay boxes without masks; crowds are left out, and that is said."""
    folder = hand_over(tmp_path, name)
    maskx("convert", "from", name, str(folder), "--out", str(tmp_path / "back"))
    back = tmp_path / "back" / "train.json"
    assert counts(back) == counts(tmp_path / "boxes.json") == (3, 5, 3)
    assert not (tmp_path / "back" / "val.json").exists(), "where val is train itself, as Ultralytics wants it"
    report = json.loads((folder / "report.json").read_text())
    assert report["splits"] == {"train": {"images": 3, "boxes": 5, "masks": 3}}
    assert report["dropped"]["crowd regions left out"] == 2
    content = json.loads(back.read_text())
    assert [(entry["id"], entry["name"]) for entry in content["categories"]] == list(enumerate(NAMES, start=1))
    by_box = {tuple(np.round(entry["bbox"], 1)): entry for entry in content["annotations"]}
    original = [entry for entry in json.loads((tmp_path / "boxes.json").read_text())["annotations"]
                if not entry.get("iscrowd")]  # fmt: skip
    assert {tuple(np.round(entry["bbox"], 1)): entry["category_id"] for entry in original} == {
        box: entry["category_id"] for box, entry in by_box.items()
    }
    found = [by_box[box]["segmentation"] for box in ((10, 10, 10, 10), (10, 10, 24, 24), (40, 30, 12, 12))]
    assert [area(mask) for mask in found] == areas


def test_yolo_labels_are_as_ultralytics_describes_them(tmp_path: Path) -> None:
    """Worked out by hand; names may be anything, and a label file lies where the image's folder says."""
    folder = hand_over(tmp_path, "yolo")
    content = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert content == {"train": "images/train", "val": "images/train", "names": dict(enumerate(NAMES))}
    lines = (folder / "labels" / "train" / "a.txt").read_text().splitlines()
    assert lines[0] == "0 0.15625 0.2083333 0.3125 0.2083333 0.3125 0.4166667 0.15625 0.4166667"
    assert lines[2] == f"2 {17 / 64:.7g} {7.5 / 48:.7g} {30 / 64:.7g} {9 / 48:.7g}"
    assert len(lines[1].split()) == 1 + 2 * (4 + 4 + 2), "two squares, and a line there and back"
    assert (folder / "labels" / "train" / "deep" / "b.txt").is_file()
    assert (folder / "labels" / "train" / "c.txt").read_text() == ""
    image = folder / "images" / "train" / "deep" / "b.png"
    assert image.samefile(tmp_path / "images" / "deep" / "b.png"), "a second name of the same file"
    assert not image.is_symlink()


def test_for_ultralytics_a_box_without_a_mask_is_a_rectangle(tmp_path: Path) -> None:
    """Since it refuses five numbers among polygons; that is counted and said."""
    folder = hand_over(tmp_path, "ultralytics")
    lines = [line.split() for path in folder.rglob("*.txt") for line in path.read_text().splitlines()]
    assert sorted(map(len, lines)) == [9, 9, 9, 9, 21]
    report = json.loads((folder / "report.json").read_text())
    assert report["splits"]["train"]["masks"] == 3
    assert next(n for reason, n in report["dropped"].items() if "rectangles" in reason) == 2


def test_a_second_file_becomes_val(tmp_path: Path) -> None:
    """Both splits in one folder; copies where the folder shall stand alone."""
    folder = hand_over(tmp_path, "yolo", "--val", str(tmp_path / "boxes.json"), "--copy-images")
    assert yaml.safe_load((folder / "data.yaml").read_text())["val"] == "images/val"
    assert (folder / "labels" / "val" / "a.txt").read_text() == (folder / "labels" / "train" / "a.txt").read_text()
    assert not (folder / "images" / "val" / "a.jpg").samefile(tmp_path / "images" / "a.jpg")


def test_a_split_alone_stands_for_both_that_ultralytics_wants(tmp_path: Path) -> None:
    """Whichever it is."""
    content = yaml.safe_load((hand_over(tmp_path, "yolo", "--split", "val") / "data.yaml").read_text())
    assert (content["train"], content["val"]) == ("images/val", "images/val")


def test_voc_files_are_as_the_devkit_describes_them(tmp_path: Path) -> None:
    """Corners from 1, the last pixel inside; object and class pictures; names escaped."""
    folder = hand_over(tmp_path, "voc")
    root = ElementTree.parse(folder / "Annotations" / "a.xml").getroot()
    assert [entry.findtext("name") for entry in root.iter("object")] == list(NAMES)
    box = root.find("object/bndbox")
    assert box is not None
    assert [entry.text for entry in box] == ["11", "11", "20", "20"]
    with Image.open(folder / "SegmentationObject" / "deep" / "b.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
        assert np.unique(np.array(picture)).tolist() == [0, 1]
    with Image.open(folder / "SegmentationClass" / "deep" / "b.png") as picture:
        assert np.unique(np.array(picture)).tolist() == [0, 3]
    assert (folder / "ImageSets" / "Segmentation" / "train.txt").read_text() == "a\ndeep/b\n"


@pytest.mark.parametrize("tool", ["cvat", "datumaro", "label-studio"])
def test_what_reads_coco_gets_no_null_and_no_category_zero(tmp_path: Path, tool: str) -> None:
    """Datumaro, and CVAT with it, takes category 0 for none, and refuses a file with one null."""
    folder = hand_over(tmp_path, tool, first_id=0)
    name = "annotations/instances_train.json" if tool == "datumaro" else "train.json"
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    assert [entry["id"] for entry in content["categories"]] == [1, 2, 3]
    assert {entry["category_id"] for entry in content["annotations"]} == {1, 2, 3}
    assert all(isinstance(entry["segmentation"], list | dict) for entry in content["annotations"])
    assert all(type(entry["iscrowd"]) is int for entry in content["annotations"])
    crowds = [entry for entry in content["annotations"] if entry["iscrowd"]]
    rles = [entry for entry in content["annotations"] if isinstance(entry["segmentation"], dict)]
    assert (len(crowds), len(rles)) == ((0, 0) if tool == "label-studio" else (2, 2))
    assert counts(folder / name) == (3, 5, 3)


def test_label_studio_gets_a_configuration_that_is_xml(tmp_path: Path) -> None:
    """Its converter writes names as they are, so that `&` breaks it."""
    root = ElementTree.parse(hand_over(tmp_path, "label-studio") / "label-config.xml").getroot()
    for tag in ("PolygonLabels", "RectangleLabels"):
        assert [label.get("value") for label in root.findall(f"{tag}/Label")] == list(NAMES)


def test_finished_and_unchanged_it_returns_and_other_annotations_are_refused(tmp_path: Path) -> None:
    """And a folder that maskx did not write is never replaced."""
    words = ("convert", "to", "yolo", str(write_dataset(tmp_path)), "--images", str(tmp_path / "images"))
    maskx(*words)
    assert "finished and unchanged" in maskx(*words)
    path = tmp_path / "boxes.json"
    path.write_text(path.read_text() + "\n")
    assert "made from something else" in maskx(*words, code=1)
    maskx(*words, "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    assert "not written by maskx" in maskx(*words, "--out", str(tmp_path / "mine"), "--overwrite", code=1)


def test_images_that_would_share_a_label_file_are_refused(tmp_path: Path) -> None:
    """And names that lead out of the folder; nothing is left behind."""
    path = write_dataset(tmp_path)
    content = json.loads(path.read_text())
    for name, said in (("a.png", "would have one label file"), ("../images/c.jpg", "outside")):
        content["images"][2]["file_name"] = name
        (tmp_path / "images" / "a.png").write_bytes((tmp_path / "images" / "c.jpg").read_bytes())
        path.write_text(json.dumps(content))
        for tool in ("yolo", "voc", "labelme"):
            told = maskx("convert", "to", tool, str(path), "--images", str(tmp_path / "images"), code=1)
            assert said in told
            assert not (tmp_path / f"boxes-for-{tool}").exists()


def test_missing_images_are_left_out_and_named_where_all_are(tmp_path: Path) -> None:
    """Their labels would be of nothing."""
    path = write_dataset(tmp_path)
    (tmp_path / "images" / "a.jpg").unlink()
    told = maskx("convert", "to", "yolo", str(path), "--images", str(tmp_path / "images"))
    assert "1 images left out" in told
    assert "none of its 3 images" in maskx("convert", "to", "voc", str(path), "--images", str(tmp_path), code=1)
    assert "give the folder with --images" in maskx("convert", "to", "voc", str(path), code=1)


def test_parts_joined_to_one_polygon_cover_the_same_pixels() -> None:
    """On parts at any place, the lines between them enclose nothing."""
    generator = np.random.default_rng(0)
    for count in (1, 2, 3, 6):
        parts = []
        for number in range(count):
            x, y = 2 + 10 * number, generator.integers(0, 30)
            w, h = generator.integers(3, 8, 2)
            parts.append([float(side) for side in (x, y, x + w, y, x + w, y + h, x, y + h)])
        assert area([one_polygon(parts)]) == area(parts)
