"""`maskx convert from`: data sets in other formats, as their tools write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats_world import HEIGHT, WIDTH, maskx, write_labelme, write_voc, write_yolo
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from maskx_pipeline.data.coco import read_coco


def objects_of(path: Path) -> list[tuple[str, str, list[float], float | None]]:
    """Image, category, box, and pixels of the mask of each annotation, as pycocotools sees them."""
    coco = COCO(str(path))
    return [
        (
            coco.imgs[entry["image_id"]]["file_name"],
            coco.cats[entry["category_id"]]["name"],
            entry["bbox"],
            float(coco.annToMask(entry).sum()) if entry["segmentation"] else None,
        )
        for entry in coco.anns.values()
    ]


def test_yolo_lines_of_five_numbers_are_boxes_and_longer_ones_masks(tmp_path: Path) -> None:
    """Pixels worked out by hand; all names are categories, in each split, and an image without labels stays."""
    maskx("convert", "from", "yolo", str(write_yolo(tmp_path / "set")), "--out", str(tmp_path / "out"))
    assert objects_of(tmp_path / "out" / "train.json") == [
        ("images/train/a.jpg", "person", [24, 12, 16, 24], None),
        ("images/train/a.jpg", "salt & pepper", [16, 12, 16, 12], 192),
    ]
    assert objects_of(tmp_path / "out" / "val.json") == [
        ("images/val/c.jpg", "猫", pytest.approx([3.2, 2.4, 6.4, 4.8]), None)
    ]
    for split, count in (("train", 2), ("val", 1)):
        data = read_coco(tmp_path / "out" / f"{split}.json", tmp_path / "set")
        assert len(data.images) == count
        assert [category.name for category in data.categories] == ["person", "salt & pepper", "猫"]


def test_yolo_sizes_are_those_that_a_viewer_shows(tmp_path: Path) -> None:
    """Ultralytics turns a photo by its orientation tag before it looks at the labels."""
    path = write_yolo(tmp_path / "set")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "set" / "images" / "val" / "c.jpg", exif=exif)
    maskx("convert", "from", "yolo", str(path), "--out", str(tmp_path / "out"))
    ((_, _, box, _),) = objects_of(tmp_path / "out" / "val.json")
    assert box == pytest.approx([0.05 * HEIGHT, 0.05 * WIDTH, 0.1 * HEIGHT, 0.1 * WIDTH])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("7 0.1 0.1 0.1 0.1", "class 7 is not"),
        ("0 nan 0.1 0.1 0.1", "a number is infinite, or none"),
        ("dog 0.1", "could not convert"),
        ("0.5 1 1 1 1", "0.5"),
    ],
)
def test_a_broken_yolo_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    """By its file and number."""
    path = write_yolo(tmp_path / "set")
    (tmp_path / "set" / "labels" / "val" / "c.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n", encoding="utf-8")
    told = maskx("convert", "from", "yolo", str(path), "--out", str(tmp_path / "out"), code=1)
    assert said in told
    assert "c.txt, line 2" in told
    assert not (tmp_path / "out" / "train.json").exists(), "all or nothing"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("names: [yes, no]\ntrain: images/train\n", "True is not the name of a class"),
        ("names: [cat, null]\ntrain: images/train\n", "None is not the name of a class"),
        ("names: [[cat]]\ntrain: images/train\n", "is not the name of a class"),
        ("names: [cat]\ntrain: 2001-99-99\n", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("names: [a, b, c]\ntrain: labels\n", "there is no image in what was given"),
    ],
)
def test_a_data_yaml_that_means_something_else_is_a_known_error(tmp_path: Path, text: str, said: str) -> None:
    """YAML makes truth of a class called no; a folder of no images is no data set."""
    path = write_yolo(tmp_path / "set")
    (path if path.is_file() else path / "data.yaml").write_text(text, encoding="utf-8")
    assert said in maskx("convert", "from", "yolo", str(path), "--out", str(tmp_path / "out"), code=1)
    assert not list((tmp_path / "out").glob("*.json"))


def test_labels_that_are_nowhere_are_warned_of(tmp_path: Path) -> None:
    """A split of images alone is possible, and seldom meant."""
    path = write_yolo(tmp_path / "set")
    for label in (tmp_path / "set" / "labels").rglob("*.txt"):
        label.unlink()
    said = maskx("convert", "from", "yolo", str(path), "--out", str(tmp_path / "out"))
    assert "train has no boxes" in said
    assert "val has no boxes" in said


def test_voc_objects_are_the_values_of_the_picture(tmp_path: Path) -> None:
    """The first object has 10 x 10 pixels, the border of 255 is nobody's, and the second is a box alone."""
    told = maskx("convert", "from", "voc", str(write_voc(tmp_path / "set")), "--out", str(tmp_path / "out"))
    first, second = "JPEGImages/2007_000001.jpg", "JPEGImages/2007_000002.jpg"
    assert objects_of(tmp_path / "out" / "train.json") == [
        (first, "dog", [10, 5, 10, 10], 100),
        (first, "tv & radio", [0, 0, 64, 48], None),
    ]
    assert [mask for *_, mask in objects_of(tmp_path / "out" / "val.json")] == [None, None]
    assert {name for name, *_ in objects_of(tmp_path / "out" / "val.json")} == {second}
    assert "1 images left out: no split" in told
    read = read_coco(tmp_path / "out" / "train.json", tmp_path / "set")
    assert [category.name for category in read.categories] == ["dog", "tv & radio"]


def test_xml_files_beside_their_images_are_train(tmp_path: Path) -> None:
    """As LabelImg leaves them."""
    folder = write_voc(tmp_path / "set")
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (*folder.glob("Annotations/*"), *folder.glob("JPEGImages/*")):
        path.rename(flat / path.name)
    maskx("convert", "from", "voc", str(flat), "--out", str(tmp_path / "out"))
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["splits"] == {"train": {"images": 3, "boxes": 4, "masks": 0}}


def test_labelme_shapes_are_masks_and_rectangles_boxes(tmp_path: Path) -> None:
    """Two polygons of a group are one object; the circle has its area; the mask its picture, at its corner."""
    told = maskx("convert", "from", "labelme", str(write_labelme(tmp_path / "set")), "--out", str(tmp_path / "out"))
    found = objects_of(tmp_path / "out" / "train.json")
    assert [(name, box) for _, name, box, _ in found] == [
        ("dog", [10, 10, 24, 24]), ("猫", [40, 30, 10, 10]), ("ball", [24, 14, 12, 12]), ("dog", [2, 3, 6, 4]),
    ]  # fmt: skip
    assert [mask for *_, mask in found] == [116, None, pytest.approx(np.pi * 36, rel=0.08), 18]
    mask = json.loads((tmp_path / "out" / "train.json").read_text())["annotations"][3]["segmentation"]
    assert coco_mask.decode(mask)[4:7, 2:8].all()
    assert "1 shapes left out: `point`" in told
    assert len(read_coco(tmp_path / "out" / "train.json", tmp_path / "set").images) == 2


@pytest.mark.parametrize(
    ("name", "write", "label"),
    [
        ("yolo", write_yolo, "labels/val/c.txt"),
        ("voc", write_voc, "Annotations/2007_000002.xml"),
        ("labelme", write_labelme, "b.json"),
    ],
)
def test_the_same_command_returns_at_once_and_a_changed_label_is_found(
    tmp_path: Path, name: str, write: Callable[[Path], Any], label: str
) -> None:
    """As every stage does."""
    words = ("convert", "from", name, str(write(tmp_path / "set")), "--out", str(tmp_path / "out"))
    maskx(*words)
    before = (tmp_path / "out" / "train.json").read_bytes()
    assert "finished and unchanged" in maskx(*words)
    with (tmp_path / "set" / label).open("a", encoding="utf-8") as file:
        file.write("\n")
    assert "made from something else" in maskx(*words, code=1)
    maskx(*words, "--overwrite")
    assert (tmp_path / "out" / "train.json").read_bytes() != before


@pytest.mark.parametrize("name", ["yolo", "voc", "labelme"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    """With what was looked for."""
    (tmp_path / "set").mkdir()
    told = maskx("convert", "from", name, str(tmp_path / "set"), "--out", str(tmp_path / "out"), code=1)
    assert "->" in told
    assert not (tmp_path / "out").exists()
