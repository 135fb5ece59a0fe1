"""The category map, and reading a data set through it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.convert.visual_genome_categories import category_map, choose_categories
from maskx_pipeline.data.category_map import read_category_map
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.records import Category
from maskx_pipeline.errors import DataError

DETECTOR = (Category(1, "dog", 1), Category(2, "cat", 2), Category(5, "tree.n.01", 3))
COCO_NAMES = {18: "dog", 17: "cat", 90: "toothbrush"}
TRIANGLE = [[1, 1, 9, 1, 1, 9]]


def row(coco_id: int, coco_name: str, category_id: int, category_name: str) -> dict[str, Any]:
    return {"coco_id": coco_id, "coco_name": coco_name, "category_id": category_id, "category_name": category_name}


DOG, CAT = row(18, "dog", 1, "dog"), row(17, "cat", 2, "cat")


def write_map(folder: Path, *rows: Any, **others: Any) -> Path:
    path = folder / "map.json"
    path.write_text(json.dumps({"schema": 1, "categories": list(rows), **others}))
    return path


def read(folder: Path, map_file: Path, *objects: tuple[int, Any]) -> CocoData:
    """Read a data set of COCO's categories, with objects as (category id, segmentation), through the map."""
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 20, "height": 20}],
        "categories": [{"id": i, "name": name} for i, name in COCO_NAMES.items()],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": i, "bbox": [1, 1, 8, 8], "segmentation": mask}
            for n, (i, mask) in enumerate(objects, 1)
        ],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return read_coco(
        folder / "coco.json", folder, categories=DETECTOR, category_map=read_category_map(map_file), check_files=False
    )


def test_objects_get_the_labels_of_the_detector(tmp_path: Path) -> None:
    """Ids are looked up in the map; masks and boxes stay, and all of the detector's categories are there."""
    data = read(tmp_path, write_map(tmp_path, DOG, CAT), (17, TRIANGLE), (18, TRIANGLE), (18, None))
    assert data.categories == DETECTOR
    assert [(a.label, a.has_mask) for a in data.annotations()] == [(2, True), (1, True), (1, False)]
    assert data.problems == ()


def test_another_map_makes_other_data(tmp_path: Path) -> None:
    """The digest, by which caches are known, follows from file and map; names beside the map change nothing."""
    objects = ((17, TRIANGLE), (18, TRIANGLE))
    first = read(tmp_path, write_map(tmp_path, DOG, CAT), *objects).digest
    assert read(tmp_path, write_map(tmp_path, CAT, DOG, about="another order"), *objects).digest == first
    swapped = write_map(tmp_path, row(18, "dog", 2, "cat"), row(17, "cat", 1, "dog"))
    assert read(tmp_path, swapped, *objects).digest != first


def test_a_category_with_masks_that_the_map_misses_is_an_error(tmp_path: Path) -> None:
    """Its masks would be lost without a word."""
    with pytest.raises(DataError, match=r"map\.json does not map .*coco\.json, which have masks: `toothbrush` \(90\)"):
        read(tmp_path, write_map(tmp_path, DOG, CAT), (90, TRIANGLE), (18, TRIANGLE))


def test_what_the_map_leaves_out_is_dropped_and_counted(tmp_path: Path) -> None:
    """Visual Genome may lack a COCO category: the converter lists it. Boxes alone may be left out anyway."""
    for left_out, mask in ((["toothbrush"], TRIANGLE), ([], None)):
        map_file = write_map(tmp_path, DOG, CAT, coco_categories_not_found=left_out)
        data = read(tmp_path, map_file, (90, mask), (18, TRIANGLE))
        assert [a.label for a in data.annotations()] == [1]
        assert [problem.kind for problem in data.problems] == ["category not in the category map"]


def test_rows_of_categories_that_the_data_lack_are_left_alone(tmp_path: Path) -> None:
    """The converter maps all of COCO; a part of COCO is read with the same map."""
    data = read(tmp_path, write_map(tmp_path, DOG, CAT, row(1, "person", 5, "tree.n.01")), (18, TRIANGLE))
    assert [a.label for a in data.annotations()] == [1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (row(17, "cat", 3, "cat"), r"category_id 3 is `cat`, but for the detector it is none of its categories"),
        (row(17, "cat", 5, "cat"), r"category_id 5 is `cat`, but for the detector it is `tree\.n\.01`"),
        (row(17, "cow", 2, "cat"), r"coco_id 17 is `cow`, but in the annotations with masks it is `cat`"),
    ],
)
def test_the_map_of_other_data_is_found_out_by_its_names(tmp_path: Path, wrong: Any, message: str) -> None:
    """Ids alone would give the masks of dogs to cats."""
    with pytest.raises(DataError, match=message):
        read(tmp_path, write_map(tmp_path, DOG, wrong), (18, TRIANGLE))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([DOG, row(17, "cat", 1, "dog")], r"maps to category_id 1 more than once"),
        ([DOG, row(18, "dog", 2, "cat")], r"maps coco_id 18 more than once"),
        ([DOG, 3], r"categories\[1\] is not an object"),
        ([DOG, {**CAT, "category_id": "2"}], r"categories\[1\]: `category_id` is '2'"),
        ([{"coco_id": 1, "coco_name": "dog", "category_id": 1}], r"`category_name` is missing"),
        ([], r"no list `categories`"),
    ],
)
def test_a_map_that_is_wrong_in_itself_is_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    """With the place in the file."""
    with pytest.raises(DataError, match=message):
        read_category_map(write_map(tmp_path, *rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "categories": [', "not JSON"),
        ("[]", "no list `categories`"),
        (json.dumps({"schema": 2, "categories": [DOG]}), "schema 2; this maskx reads 1"),
        (json.dumps({"schema": 1, "categories": [DOG], "coco_categories_not_found": "x"}), "not a list of names"),
    ],
)
def test_a_broken_map_is_a_known_error(tmp_path: Path, text: str, message: str) -> None:
    """Cut off, another kind of file, or of another version."""
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_category_map(tmp_path / "map.json")


def test_a_missing_map_is_a_known_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        read_category_map(tmp_path / "none.json")


def test_what_the_converter_writes_is_read(tmp_path: Path) -> None:
    """COCO's couch is VG's sofa; a category that VG lacks is left out."""
    categories = choose_categories(Counter({"dog.n.01": 3, "sofa.n.01": 2, "tree.n.01": 1}), 3)
    (tmp_path / "map.json").write_text(json.dumps(category_map(categories)))
    made = read_category_map(tmp_path / "map.json")
    assert [(r.coco_id, r.category_name) for r in made.rows] == [(18, "dog"), (63, "couch")]
    assert len(made.left_out) == 78
