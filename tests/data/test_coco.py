"""Reading annotation files: all forms of a mask, and what can be wrong with categories, images and the file."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskx_pipeline.data.coco import CocoData, log_problems, read_coco
from maskx_pipeline.errors import DataError

WIDTH, HEIGHT = 20, 16
SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]


def _forms() -> dict[str, object]:
    bitmap = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    bitmap[2:12, 2:12] = 1
    counts = coco_mask.encode(np.asfortranarray(bitmap))["counts"].decode()
    size = [HEIGHT, WIDTH]
    return {
        "null": None,
        "empty list": [],
        "empty polygons": [[], []],
        "polygons": SQUARE,
        "uncompressed RLE": {"size": size, "counts": [34, *[10, 6] * 9, 10, HEIGHT * WIDTH - 34 - 16 * 9 - 10]},
        "compressed RLE": {"size": size, "counts": counts},
    }


def test_all_forms_of_a_mask_load_from_one_file(make_data):
    """Missing, null, [], empty polygons, polygons, uncompressed and compressed RLE may be mixed."""
    data = make_data([{}, *({"segmentation": form} for form in _forms().values())])
    assert [a.has_mask for a in data.annotations()] == [False, False, False, False, True, True, True]
    assert [a.segmentation for a in data.annotations()][:4] == [None] * 4
    assert data.problems == ()


def test_labels_are_contiguous_by_ascending_category_id(make_data):
    """Sparse ids in any order become labels 1..K."""
    data = make_data([{"category_id": 90}, {"category_id": 3}], categories=_categories({90: "z", 3: "c", 44: "m"}))
    assert [(c.label, c.id, c.name) for c in data.categories] == [(1, 3, "c"), (2, 44, "m"), (3, 90, "z")]
    assert [a.label for a in data.annotations()] == [3, 1]
    assert (data.num_classes, data.label_of_id(44), data.category(2).name) == (3, 2, "m")


def test_boxes_are_corners_in_pixels(make_data):
    """COCO's x, y, width, height becomes x1, y1, x2, y2; the area is that of the box where none is given."""
    first, second = make_data([{"bbox": [1, 2, 5, 6]}, {"bbox": [1, 2, 5, 6], "area": 12.5}]).annotations()
    assert first.box_xyxy == (1, 2, 6, 8)
    assert (first.area, second.area) == (30, 12.5)


def test_crowds_are_kept_and_marked(make_data):
    """Crowd regions stay in the data, for evaluation."""
    data = make_data([{"iscrowd": 1, "segmentation": _forms()["uncompressed RLE"]}, {}])
    assert [a.iscrowd for a in data.annotations_of(1)] == [True, False]


def test_lookups_of_what_is_not_there_are_errors(make_data):
    """A wrong label, category id or image id is named, rather than answered with another entry."""
    data = make_data([{}])
    for lookup, key in ((data.category, 0), (data.category, 3), (data.label_of_id, 4), (data.image, 9)):
        with pytest.raises(DataError, match=str(key)):
            lookup(key)
    assert data.image_path(1) == data.image_dir / "1.png"


def test_an_image_without_file_is_dropped_with_its_annotations(make_data):
    """The image is named, and each annotation lost with it by its id."""
    images = [_image(1, "1.png"), _image(2, "gone.png") | {"absent": True}]
    data = make_data([{}, {"image_id": 2}, {"image_id": 2}], images=images)
    assert [(p.kind, p.image_id) for p in data.problems] == [
        ("missing image file", 2),
        ("annotation of a dropped image", 2),
        ("annotation of a dropped image", 2),
    ]
    assert [p.annotation_id for p in data.problems] == [None, 2, 3]
    assert "gone.png" in data.problems[0].message
    assert len(data.annotations()) == len(data.images) == 1
    unchecked = read_coco(data.path, data.image_dir, check_files=False)
    assert len(unchecked.images) == 2


def test_a_duplicate_image_id_and_an_image_without_size_are_dropped(make_data):
    """The first of two records with one id is used."""
    data = make_data([{}], images=[_image(1, "a.png"), _image(1, "b.png"), _image(2, "c.png") | {"width": 0}])
    assert [image.file_name for image in data.images] == ["a.png"]
    assert [problem.kind for problem in data.problems] == ["duplicate image id", "image without size"]


def test_an_image_without_boxes_is_kept_and_named(make_data):
    """Validation needs empty images; a crowd alone does not fill one."""
    data = make_data([{}, {"image_id": 3, "iscrowd": 1}], images=3)
    assert [image.id for image in data.images] == [1, 2, 3]
    assert [(p.kind, p.image_id) for p in data.problems] == [("image without boxes", 2), ("image without boxes", 3)]
    assert data.annotations_of(2) == ()


def test_problems_are_logged_by_kind_with_what_was_done(make_data, caplog):
    """One warning for each kind: how many, what was done, and the first of them; an image without boxes is none."""
    data = make_data([{}, {"bbox": [5, 5, 0, 0]}, {"bbox": [5, 5, 0, 0]}, {"bbox": [0, 0, 90, 5]}], images=2)
    with caplog.at_level(logging.WARNING, logger="maskx"):
        log_problems(data)
    assert len(caplog.messages) == 2
    assert "2 x zero-area box: dropped" in caplog.messages[0]
    assert "annotation 2" in caplog.messages[0]
    assert "1 x box partly outside the image: clipped" in caplog.messages[1]


def test_validation_is_read_with_the_categories_of_training(make_data):
    """Labels mean the same in both files, even if validation lists fewer categories."""
    train = make_data([{}], categories=_categories({3: "cat", 5: "cow", 7: "dog"}))
    val = make_data([{"category_id": 7}], name="val", categories=_categories({7: "dog"}), read_with=train.categories)
    assert val.categories == train.categories
    assert val.annotations()[0].label == 3


@pytest.mark.parametrize(("categories", "known"), [({3: "dog"}, "`cat`"), ({4: "cat"}, "nothing")])
def test_categories_that_disagree_are_an_error(make_data, categories, known):
    """The same id under another name, or an id that training does not know, would silently change labels."""
    train = make_data([{}])
    with pytest.raises(DataError, match=f"{known} in the training data"):
        make_data([], name="val", categories=_categories(categories), read_with=train.categories)


def test_a_category_id_with_two_names_is_an_error(make_data):
    """Nobody can say which of them is meant."""
    with pytest.raises(DataError, match="both `a` and `b`"):
        make_data([], categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}])


def test_a_byte_order_mark_is_accepted_and_the_digest_is_of_the_file(make_data):
    """Windows tools write one."""
    data = make_data([{}])
    data.path.write_bytes(b"\xef\xbb\xbf" + data.path.read_bytes())
    again = read_coco(data.path, data.image_dir)
    assert again.annotations() == data.annotations()
    assert again.digest == hashlib.sha256(data.path.read_bytes()).hexdigest() != data.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("\udce9", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "holds a list"),
        ("{}", "no list `images`"),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}], "annotations": {}}', "no list `annotations`"),
        ('{"images": [], "categories": [], "annotations": []}', "no categories"),
        ('{"images": [3], "categories": [], "annotations": []}', "images[0] is not an object"),
    ],
)
def test_a_file_that_is_no_annotation_file_is_an_error(tmp_path: Path, content: str, message: str):
    """The error names the file and what it lacks."""
    path = tmp_path / "train.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_coco(path, tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("images", "file_name", None),
        ("images", "id", "one"),
        ("images", "width", 20.5),
        ("categories", "name", None),
        ("annotations", "bbox", None),
        ("annotations", "category_id", True),
        ("annotations", "image_id", "1"),
    ],
)
def test_a_missing_or_mistyped_required_key_is_an_error_with_its_index(make_data, place, key, value):
    """Missing boxes or names are a wrong file, not a few bad annotations."""
    data = make_data([{}, {}], images=2)
    content = json.loads(data.path.read_text())
    if value is None:
        del content[place][1][key]
    else:
        content[place][1][key] = value
    data.path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=re.escape(f"{place}[1]: `{key}` is")):
        read_coco(data.path, data.image_dir)


def test_missing_files_and_folders_are_errors(make_data, tmp_path: Path):
    """Neither a missing annotation file nor a wrong image folder passes as an empty data set."""
    data = make_data([{}])
    with pytest.raises(DataError, match="cannot be read"):
        read_coco(tmp_path / "no.json", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_coco(data.path, tmp_path / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="none of 1 images can be used"):
        read_coco(data.path, tmp_path / "empty")


def test_images_in_subfolders_are_found(make_data, tmp_path: Path):
    """`file_name` may be a path, and a subfolder may be missing."""
    (tmp_path / "train" / "sub").mkdir(parents=True)
    data = make_data([{}], images=[_image(1, "sub/1.png"), _image(2, "other/2.png") | {"absent": True}])
    assert [image.file_name for image in data.images] == ["sub/1.png"]


def test_real_coco_loads_whole(coco_mini: tuple[CocoData, CocoData]):
    """Nothing of the real data is dropped, and the category ids are COCO's 80 of 90."""
    train, val = coco_mini
    assert (len(train.images), len(train.annotations()), train.num_classes) == (343, 2974, 80)
    assert (len(val.images), len(val.annotations())) == (143, 1246)
    assert {problem.kind for problem in train.problems + val.problems} == {"image without boxes"}
    assert (train.categories[-1].id, train.categories[-1].label) == (90, 80)
    assert all(annotation.has_mask for annotation in train.annotations())


def _categories(names: dict[int, str]) -> list[dict[str, object]]:
    return [{"id": category_id, "name": name} for category_id, name in names.items()]


def _image(image_id: int, file_name: str) -> dict[str, object]:
    return {"id": image_id, "file_name": file_name, "width": WIDTH, "height": HEIGHT}
