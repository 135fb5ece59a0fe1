"""Which annotations lack a mask, and what a filled file looks like."""

from __future__ import annotations

import io
import json

import pytest

from maskx_pipeline.annotate.mask_gaps import find_mask_gaps, labels_by_name
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.data.records import Category
from maskx_pipeline.errors import DataError

SQUARE = [[3.0, 3.0, 9.0, 3.0, 9.0, 9.0, 3.0, 9.0]]
BOTH = {1: 1, 2: 2}


def _filled(data, changes):
    """The file as it is written, with changes by annotation id."""
    gaps, stream = find_mask_gaps(data, labels=BOTH), io.BytesIO()
    gaps.write(stream, lambda row: changes.get(data.annotations()[row].id))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("annotation", "left"),
    [
        ({"segmentation": SQUARE}, "masked"),
        ({"segmentation": [[3, 3], [9, 3], [9, 9]]}, "broken segmentation"),  # drawn, however badly written
        ({"segmentation": [[[3, 3], [9, 3], [9, 9]]]}, "broken segmentation"),
        ({"segmentation": [3, 3, 9, 3, 9, 9]}, "broken segmentation"),
        ({"segmentation": [{"x": 3, "y": 3}, {"x": 9, "y": 3}, {"x": 9, "y": 9}]}, "broken segmentation"),
        ({"segmentation": [[3, 3, 9, 3, 9]]}, "broken segmentation"),
        ({"segmentation": "POLYGON((3 3, 9 3, 9 9))"}, "broken segmentation"),
        ({"segmentation": {"size": [20, 16], "counts": [100, 220]}}, "broken segmentation"),
        ({"iscrowd": "1"}, "crowd"),
        ({"iscrowd": 1}, "crowd"),
        ({"bbox": [5, 5, 0, 5]}, "zero-area box"),
        ({"image_id": 99}, "unknown image id"),
        ({"category_id": 4}, "unknown category id"),
        ({"category_id": 7}, "dog"),
        ({"id": 1}, "duplicate annotation id"),
    ],
)
def test_what_is_not_filled_is_counted_by_its_reason(make_data, annotation, left):
    """Every annotation is filled, or is one of these."""
    data = make_data([{}, annotation, {"segmentation": []}])
    gaps = find_mask_gaps(data, labels={1: 1})  # of `dog`, label 2, the model knows nothing
    alone = gaps.left_alone
    named = {"masked": alone.masked, "crowd": alone.crowd, **alone.unknown, **alone.problems}
    both = left == "duplicate annotation id"
    assert {name: count for name, count in named.items() if count} == {left: 1 + both}
    assert [a.id for a in gaps.work[1]] == ([3] if both else [1, 3])
    assert gaps.annotations == 3


@pytest.mark.parametrize("segmentation", [
    None, [], [[]], [[], [1, 2, 3, 4]], [[0, 0, 0, 0, 0, 0]], [[3, 3, 5, 5, 9, 9]],
    {"size": [16, 20], "counts": [320]}, {"size": [16, 20], "counts": []},
])  # fmt: skip
def test_a_mask_is_absent_as_everywhere(make_data, segmentation):
    """The rule is that of `mask_is_absent`, on the value in the file."""
    gaps = find_mask_gaps(make_data([{"segmentation": segmentation}]), labels=BOTH)
    assert [a.id for a in gaps.work[1]] == [1]


def test_each_byte_but_those_of_the_filled_stays(tmp_path, make_data):
    """Odd spacing, escapes, numbers as 1e1, extra keys and unknown lists survive; also lone surrogates and tabs."""
    make_data([{}])
    odd = (
        '{ "categories":[{"id":7,"name":"\\u00e9é"},{"id":3,"name":"猫"}],"x":{"a":[1,2,NaN]},\r\n'
        '"images":[{"id":1.0,"file_name":"1.png","width":20,"height":16}],"annotations" :[\n'
        ' {"id":1,"image_id":1.0,"category_id":3,"bbox":[1e0,2,3.50,4],"note":"\\ud800 ü"},\r\n'
        '\t{"id":2.0, "image_id":1,"segmentation":[],"category_id":7, "bbox":[2,2,5,5], '
        '"area" : 25.00 , "k":[1 ,2]} ]} \n'
    )
    path = tmp_path / "odd.json"
    path.write_bytes(odd.encode())
    data = read_coco(path, tmp_path / "train")
    filled = _filled(data, {2: {"segmentation": SQUARE, "area": 36.0, "mask_confidence": 0.5}}).decode()
    changed = odd.replace('"segmentation":[]', f'"segmentation":{json.dumps(SQUARE)}')
    changed = changed.replace('"area" : 25.00', '"area" : 36.0')
    assert filled == changed.replace('"k":[1 ,2]}', '"k":[1 ,2], "mask_confidence":0.5}')
    assert _filled(data, {}) == odd.encode()


def test_a_byte_order_mark_is_known_and_left_out(tmp_path, make_data):
    """pycocotools and others refuse a file that begins with it."""
    data = make_data([{}])
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + data.path.read_bytes())
    with_mark = read_coco(path, data.image_dir)
    assert find_mask_gaps(with_mark, labels=BOTH).had_bom
    assert _filled(with_mark, {}) == data.path.read_bytes()


def test_a_file_that_changes_under_way_or_is_no_utf8_is_refused(tmp_path, make_data):
    """Boxes of one file must not be written into another."""
    data = make_data([{}])
    wide = tmp_path / "utf16.json"
    wide.write_text(data.path.read_text(), encoding="utf-16")
    with pytest.raises(DataError, match="UTF-8"):
        find_mask_gaps(read_coco(wide, data.image_dir), labels=BOTH)
    data.path.write_text("{}")
    with pytest.raises(DataError, match="changed"):
        find_mask_gaps(data, labels=BOTH)


def test_categories_are_matched_by_name():
    """Ids and order may differ; a name that the model has twice needs the same id."""
    model = (Category(5, "a/b", 1), Category(6, "猫", 2), Category(8, "twin", 3), Category(9, "twin", 4))
    own = [Category(1, "猫", 1), Category(2, 'say "x"', 2), Category(3, "a/b", 3), Category(9, "twin", 4)]
    assert labels_by_name(own, model) == {1: 2, 3: 1, 4: 4}
    assert labels_by_name([Category(1, "twin", 1)], model) == {}
