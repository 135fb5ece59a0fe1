"""`maskx convert from`: Open Images, LVIS and Objects365, as they are downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from formats_world import HEIGHT, WIDTH, maskx, write_lvis, write_objects365, write_open_images
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from maskx_pipeline.data.category_map import read_category_map
from maskx_pipeline.data.category_sets import COCO_CATEGORIES
from maskx_pipeline.data.coco import read_coco


def test_open_images_boxes_get_the_mask_pictures_with_their_sides(tmp_path: Path) -> None:
    """The picture is half as large as the image; a group is a crowd; what matches nothing is counted."""
    told = maskx(
        "convert", "from", "open-images", str(write_open_images(tmp_path / "oi")), "--out", str(tmp_path / "o")
    )
    coco = COCO(str(tmp_path / "o" / "train.json"))
    found = [(coco.imgs[a["image_id"]]["file_name"], coco.cats[a["category_id"]]["name"], a["bbox"], a["iscrowd"])
             for a in coco.anns.values()]  # fmt: skip
    assert found == [
        ("train/00aa.jpg", "Car", [16, 12, 32, 12], 0),
        ("train/00aa.jpg", "Car", [0, 0, 64, 48], 1),
        ("train/00aa.jpg", "Cat, domestic & wild", [32, 24, 16, 12], 0),
        ("train/00bb.jpg", "Cat, domestic & wild", pytest.approx([6.4, 4.8, 6.4, 4.8]), 0),
    ]
    masks = [entry["segmentation"] for entry in coco.anns.values()]
    assert coco_mask.decode(masks[0])[12:24, 16:48].all()
    assert coco_mask.area(masks[0]) == 32 * 12
    assert masks[1:] == [[], [], []]
    assert "1 masks left out: no box" in told
    assert "1 images left out: their files are not there" in told
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert report["splits"]["val"] == {"images": 1, "boxes": 1, "masks": 0}
    for split in ("train", "val"):
        data = read_coco(tmp_path / "o" / f"{split}.json", tmp_path / "oi" / "images")
        assert [category.name for category in data.categories] == ["Car", "Cat, domestic & wild", "Man"]
        assert not [problem for problem in data.problems if problem.kind != "image without a box"]


def test_rows_of_an_image_that_do_not_stand_together_are_refused(tmp_path: Path) -> None:
    """They are read one image after the other, since the file of train has 14 million rows."""
    folder = write_open_images(tmp_path / "oi")
    path = folder / "oidv6-train-annotations-bbox.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1], ""]))
    told = maskx("convert", "from", "open-images", str(folder), "--out", str(tmp_path / "o"), code=1)
    assert "00aa do not stand together" in told
    assert not (tmp_path / "o" / "val.json").exists()


def test_lvis_gets_file_names_and_keeps_what_was_looked_for(tmp_path: Path) -> None:
    """File names as COCO's folders have them; pycocotools and maskx read it; all other keys stay."""
    maskx("convert", "from", "lvis", str(write_lvis(tmp_path / "lvis")), "--out", str(tmp_path / "o"))
    content = json.loads((tmp_path / "o" / "val.json").read_text())
    before = json.loads((tmp_path / "lvis" / "lvis_v1_val.json").read_text())
    assert [image.pop("file_name") for image in content["images"]] == [
        "val2017/000000000007.jpg", "train2017/000000000009.jpg",
    ]  # fmt: skip
    assert content["images"] == before["images"]
    assert content["categories"] == before["categories"]
    assert content["annotations"] == [{**entry, "iscrowd": 0} for entry in before["annotations"]]
    data = read_coco(tmp_path / "o" / "val.json", tmp_path / "lvis")
    assert (len(data.images), len(data.annotations()), data.listed.masks) == (2, 2, 2)
    assert sum(COCO(str(tmp_path / "o" / "val.json")).annToMask(a).sum() for a in content["annotations"]) == 116


def test_objects365_finds_its_images_and_maps_the_categories_of_coco(tmp_path: Path) -> None:
    """Boxes without masks; names that differ by more than capitals are known; the map is one that maskx reads."""
    maskx("convert", "from", "objects365", str(write_objects365(tmp_path / "o365")), "--out", str(tmp_path / "o"))
    for split, number in (("train", 1), ("val", 2)):
        data = read_coco(tmp_path / "o" / f"{split}.json", tmp_path / "o365" / split)
        assert [image.file_name for image in data.images] == [f"patch{number}/objects365_v1_{number:08d}.jpg"]
        assert [annotation.iscrowd for annotation in data.annotations()] == [True, False]
        assert data.listed.masks == 0
    mapped = read_category_map(tmp_path / "o" / "category-map.json")
    assert {(row.coco_name, row.category_name) for row in mapped.rows} == {
        ("person", "Person"), ("bird", "Wild Bird"), ("dining table", "Dinning Table"), ("hot dog", "Hot dog"),
        ("tv", "Moniter/TV"),
    }  # fmt: skip
    assert len(mapped.left_out) == len(COCO_CATEGORIES) - 5


def test_objects365_maps_the_categories_of_lvis_where_they_are_clear(tmp_path: Path) -> None:
    """Of two bows, neither is Objects365's bow for certain."""
    lvis = {"categories": [{"id": 1, "name": "bow_(weapon)"}, {"id": 2, "name": "bow_(ribbon)"},
                           {"id": 3, "name": "hot_dog"}]}  # fmt: skip
    (tmp_path / "lvis.json").write_text(json.dumps(lvis))
    words = ("--masks-annotations", str(tmp_path / "lvis.json"), "--out", str(tmp_path / "o"))
    maskx("convert", "from", "objects365", str(write_objects365(tmp_path / "o365")), *words)
    mapped = read_category_map(tmp_path / "o" / "category-map.json")
    assert [(row.coco_id, row.category_id) for row in mapped.rows] == [(3, 4)]
    assert mapped.left_out == {"bow_(weapon)", "bow_(ribbon)"}


@pytest.mark.parametrize(
    ("name", "write", "file"),
    [
        ("open-images", write_open_images, "validation-annotations-bbox.csv"),
        ("lvis", write_lvis, "lvis_v1_val.json"),
        ("objects365", write_objects365, "zhiyuan_objv2_val.json"),
    ],
)
def test_again_it_returns_at_once_and_a_broken_file_leaves_nothing(
    tmp_path: Path, name: str, write: Callable[[Path], Any], file: str
) -> None:
    """As every stage does."""
    folder = write(tmp_path / "set")
    words = ("convert", "from", name, str(folder), "--out", str(tmp_path / "out"))
    maskx(*words)
    assert "finished and unchanged" in maskx(*words)
    (folder / file).write_text("{", encoding="utf-8")
    assert "made from something else" in maskx(*words, code=1)
    told = maskx(*words[:-1], str(tmp_path / "other"), code=1)
    assert file in told
    assert "->" in told
    assert not list((tmp_path / "other").glob("*"))


def test_sizes_are_whole() -> None:
    """What the samples above rest on."""
    assert (WIDTH % 4, HEIGHT % 4) == (0, 0)


def test_an_absent_mask_becomes_an_empty_list(tmp_path: Path) -> None:
    """Where the key is missing, and where it is null."""
    folder = write_objects365(tmp_path / "o365")
    path = folder / "zhiyuan_objv2_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"segmentation": None}
    del content["annotations"][0]["iscrowd"]
    path.write_text(json.dumps(content))
    maskx("convert", "from", "objects365", str(folder), "--out", str(tmp_path / "o"))
    after = json.loads((tmp_path / "o" / "train.json").read_text())["annotations"]
    assert [(entry["segmentation"], entry["iscrowd"]) for entry in after] == [([], 0), ([], 0)]
