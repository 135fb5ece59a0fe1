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

from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.findings import log_findings, reading_findings
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


def test_two_files_of_one_image_id_are_dropped_with_all_annotations(make_data):
    """Whose they are cannot be told; the same file listed again is no such thing, and its first record is used."""
    images = [_image(1, "a.png"), _image(1, "b.png"), _image(2, "c.png"), _image(2, "c.png")]
    data = make_data([{}, {"image_id": 2}, {"image_id": 1}], images=images)
    assert [image.file_name for image in data.images] == ["c.png"]
    assert [a.id for a in data.annotations()] == [2]
    assert [(p.kind, p.file_name) for p in data.problems] == [
        ("image id of two files", "a.png"),
        ("image id of two files", "b.png"),
        ("duplicate image id", "c.png"),
        ("annotation of a dropped image", "b.png"),
        ("annotation of a dropped image", "b.png"),
    ]


def test_an_image_without_size_is_dropped(make_data):
    """A width of zero holds no box."""
    data = make_data([{}], images=[_image(1, "a.png"), _image(2, "c.png") | {"width": 0}])
    assert [(p.kind, p.image_id) for p in data.problems] == [("image without size", 2)]


@pytest.mark.parametrize(("step", "kind"), [(1, "category ids shifted by one"), (-1, "category ids shifted by one"),
                                            (40, "unknown category id")])  # fmt: skip
def test_category_ids_that_are_numbered_from_another_start_are_told(make_data, step, kind):
    """All used ids are listed ones, if each is moved by one: then the known ones have the name of a neighbour."""
    categories = _categories({n: f"c{n}" for n in (11, 12, 13)})
    data = make_data([{"category_id": n + step} for n in (11, 12, 13)], categories=categories)
    assert {problem.kind for problem in data.problems if problem.annotation_id} == {kind}
    assert len(data.annotations()) == (0 if step == 40 else 2)


def test_one_unknown_category_is_no_shift(make_data):
    """The lowest listed category is used, so the numbering is right."""
    data = make_data([{"category_id": n} for n in (3, 7, 8)])
    assert [problem.kind for problem in data.problems] == ["unknown category id"]


def test_annotation_ids_that_count_anew_in_each_image_are_told(make_data):
    """Never twice in an image, but again and again in the file."""
    data = make_data([{"id": n, "image_id": i} for i in (1, 2) for n in (1, 2)], images=2)
    assert [p.kind for p in data.problems if p.annotation_id] == ["annotation ids repeat per image"] * 2
    assert len(data.annotations()) == 2


@pytest.mark.parametrize(
    ("written", "crowd"), [("0", False), ("1", True), ("false", False), (0.0, False), (True, True)]
)
def test_iscrowd_may_be_text(make_data, written, crowd):
    """Some tools write each value as text, and "0" is 0."""
    assert make_data([{"iscrowd": written}]).annotations()[0].iscrowd is crowd


def test_crowds_are_read_as_objects_where_asked(make_data):
    """The digest differs, so that no result of the one reading passes for one of the other."""
    data = make_data([{"iscrowd": 1}])
    again = read_coco(data.path, data.image_dir, crowds_are_objects=True)
    assert not again.annotations()[0].iscrowd
    assert again.digest != data.digest


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [("sub\\1.png", "sub/1.png"), ("caf\u00e9.png", "cafe\u0301.png"), ("cafe\u0301.png", "caf\u00e9.png"),
     ("e\u0301t/1.png", "\u00e9t/1.png")],
)  # fmt: skip
def test_files_are_found_under_the_spelling_of_the_disk(make_data, tmp_path: Path, written: str, on_disk: str):
    """Backslashes are slashes of Windows; accents are one character or two, by system."""
    (tmp_path / "train" / on_disk).parent.mkdir(parents=True)
    data = make_data([{}], images=[_image(1, on_disk)])
    text = data.path.read_text()
    data.path.write_text(text.replace(json.dumps(on_disk), json.dumps(written)))
    again = read_coco(data.path, data.image_dir)
    assert again.problems == ()
    assert again.image_path(1).is_file()


def test_nothing_is_looked_for_under_the_name_alone(make_data):
    """A file of that name may be another; a path that leads elsewhere is a missing image."""
    data = make_data([{}, {"image_id": 2}], images=[_image(1, "1.png"), _image(2, "2.png")])
    data.path.write_text(data.path.read_text().replace('"2.png"', '"..\\\\label\\\\2.png"'))
    again = read_coco(data.path, data.image_dir)
    assert [p.kind for p in again.problems] == ["missing image file", "annotation of a dropped image"]
    kept = read_coco(data.path, data.image_dir, keep_missing=True)
    assert len(kept.images) == 2


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
        log_findings(reading_findings(data, "train"), "train.json")
    assert len(caplog.messages) == 2
    assert "train.json: train: 2 of 4 annotations: zero-area box, dropped" in caplog.messages[0]
    assert "annotation 2" in caplog.messages[0]
    assert "1 of 4 annotations: box partly outside the image, clipped" in caplog.messages[1]


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
