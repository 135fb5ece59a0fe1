"""What `maskx doctor` says of a data set."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.doctor.check import check_dataset

TRIANGLE = [[2, 2, 12, 2, 12, 12]]
SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
THREE = [{"id": 3, "name": "cat"}, {"id": 5, "name": "cow"}, {"id": 7, "name": "dog"}]


def _pair(make_data, train, val, *, images=1):
    """Boxes that are not given differ a little, since equal ones are one object twice."""
    train, val = (
        [{"bbox": [2, 2, 10, 10 + n / 1000]} | given for n, given in enumerate(part)] for part in (train, val)
    )
    train = make_data(train, categories=THREE, images=images)
    return train, make_data(val, name="val", categories=THREE, read_with=train.categories)


def test_each_category_has_its_counts_and_verdict(make_data):
    """A category is seen if it has masks in training, unseen if it has boxes only."""
    with_mask, boxes_only = {"category_id": 3, "segmentation": SQUARE}, {"category_id": 7}
    crowd = {"category_id": 7, "segmentation": SQUARE, "iscrowd": 1}
    report = check_dataset(
        *_pair(make_data, [with_mask, {"category_id": 3}, boxes_only, crowd], [with_mask, boxes_only, boxes_only])
    )
    rows = [(r.name, r.train_boxes, r.train_masks, r.train_crowds, r.val_boxes, r.val_masks) for r in report.categories]
    assert rows == [("cat", 2, 1, 0, 1, 1), ("cow", 0, 0, 0, 0, 0), ("dog", 1, 0, 1, 2, 0)]
    assert [row.train_tiny for row in report.categories] == [2, 0, 1]
    assert [row.verdict for row in report.categories] == ["seen", "no boxes", "unseen"]
    assert report.fatal == ()
    assert "no masks in validation, so no mask AP for: dog" in report.notes


def test_masks_by_a_teacher_are_counted_apart_and_make_no_category_seen(make_data):
    """In a column that other data sets have not, and a note; in val nothing is measured against them."""
    taught = {"category_id": 7, "segmentation": SQUARE, "mask_source": "teacher:sam#1"}
    own = {"category_id": 3, "segmentation": TRIANGLE}
    train, val = _pair(make_data, [own, taught, taught], [own, taught])
    report = check_dataset(read_coco(train.path, train.image_dir, teacher_masks=True), val)
    rows = [(r.name, r.train_masks, r.train_teacher, r.val_masks, r.val_teacher, r.verdict) for r in report.categories]
    assert rows == [("cat", 1, 0, 1, 0, "seen"), ("cow", 0, 0, 0, 0, "no boxes"), ("dog", 0, 2, 0, 1, "unseen")]
    assert [r.train_rectangles for r in report.categories] == [0, 0, 0]
    assert report.to_text().splitlines()[0].count("by teacher") == 2
    text = report.to_text()
    assert "2 training masks are by a teacher" in text
    assert "validation masks by a teacher are no truth" in text
    assert report.fatal == ()
    assert "by teacher" not in check_dataset(*_pair(make_data, [own], [own])).to_text()


def test_masks_by_a_teacher_alone_can_be_trained_on(make_data):
    """With a split that names them, as in the baseline that is trained on GrabCut's masks."""
    taught = {"category_id": 7, "segmentation": SQUARE, "mask_source": "teacher:grabcut#1"}
    report = check_dataset(*_pair(make_data, [taught], [{"category_id": 3, "segmentation": TRIANGLE}]))
    assert report.fatal == ()
    assert any("--split all" in note for note in report.notes)


def test_every_problem_is_named_with_its_id(make_data):
    """The faults of real data sets, all in one file, each by its annotation or image."""
    images = [
        {"id": i, "file_name": f"{i}.png", "width": 20, "height": 16} for i in (1, 2, 2)
    ] + [{"id": 4, "file_name": "gone.png", "width": 20, "height": 16, "absent": True}]  # fmt: skip
    train = [
        {"id": 11, "segmentation": SQUARE},
        {"id": 12, "bbox": [1, 1, 0, 4]},
        {"id": 13, "bbox": [90, 90, 4, 4]},
        {"id": 14, "category_id": 99},
        {"id": 11},
        {"id": 15, "segmentation": [[1, 2, 3]]},
        {"id": 16, "image_id": 77},
    ]
    report = check_dataset(*_pair(make_data, train, [{}], images=images))
    text = report.to_text()
    for named in (
        "warning: train: 1 of 4 images: duplicate image id, dropped image id 2",
        "warning: train: 1 of 4 images: missing image file, dropped with its annotations image 4: gone.png",
        "warning: train: 1 of 7 annotations: zero-area box, dropped annotation 12",
        "warning: train: 1 of 7 annotations: box outside the image, dropped annotation 13",
        "warning: train: 1 of 7 annotations: unknown category id, dropped annotation 14",
        "warning: train: 1 of 7 annotations: duplicate annotation id, dropped, first one kept annotation id 11",
        "warning: train: 1 of 2 masks: broken segmentation, mask treated as absent, box kept annotation 15",
        "warning: train: 1 of 7 annotations: unknown image id, dropped annotation 16",
        "note: train: 1 of 4 images: image without boxes, kept, not trained on image 2",
    ):
        assert named in " ".join(text.split())
    assert report.fatal == ()


def test_three_of_a_kind_are_named_and_all_where_asked(make_data):
    """A data set may have a thousand; all are in the JSON."""
    report = check_dataset(*_pair(make_data, [{}], [{}], images=14))
    found = next(one for one in report.to_json()["findings"] if one["kind"] == "image without boxes")
    assert (found["count"], found["of"], found["severity"], found["part"]) == (13, 14, "note", "train")
    assert len(found["examples"]) == 13
    text, every = report.to_text(), report.to_text(every=True)
    assert text.count("has no box") == 3
    assert "and 10 more (--all)" in text
    assert every.count("has no box") == 13
    assert max(map(len, (text + every).splitlines())) <= 80


def test_an_image_that_training_would_stop_at_is_fatal(make_data):
    """Another size than annotated, or no image at all: found from the header, before hours of training."""
    train, val = _pair(make_data, [{"segmentation": SQUARE}, {"image_id": 2}], [{}], images=2)
    Image.new("RGB", (5, 5)).save(train.image_path(1))
    train.image_path(2).write_bytes(b"")
    report = check_dataset(train, val)
    unusable = next(one for one in report.findings if one.kind == "unusable image")
    assert [example.split(":")[0] for example in unusable.examples] == ["image 1", "image 2"]
    assert "5x5 pixels, but the annotation file says 20x16" in unusable.examples[0]
    assert "2 of 2 images: unusable image" in report.fatal[0]


def test_a_data_set_without_boxes_or_masks_is_fatal(make_data):
    """There must be something to train on, and something to measure."""
    train, val = _pair(make_data, [{}], [])
    report = check_dataset(train, val)
    first, second = report.fatal
    assert "no mask that can be used" in first
    assert "at least one category with masks is needed" in first
    assert "val: 1 of 1 images: no boxes at all" in second
    train, val = _pair(make_data, [], [{}])
    assert "train: 1 of 1 images: no boxes at all" in check_dataset(train, val).fatal[0]


def test_a_box_only_data_set_is_offered_nothing_that_needs_masks(make_data):
    """Neither a split nor a comparison of mask models: there is nothing to learn masks from."""
    report = check_dataset(*_pair(make_data, [{}, {"category_id": 7}], [{}]))
    assert [row.verdict for row in report.categories] == ["unseen", "no boxes", "unseen"]
    assert not any(word in note for note in report.notes for word in ("--split", "--embedding", "mask AP"))


def test_masks_that_are_their_boxes_again_are_suspect(make_data):
    """Nine of ten rectangles: a model would learn to draw boxes. It is said what to do, and that exits with 3."""
    fake, real = {"segmentation": SQUARE}, {"segmentation": TRIANGLE}
    report = check_dataset(*_pair(make_data, [fake] * 9 + [real, {"category_id": 7} | real], [fake] * 5 + [real] * 5))
    assert [row.verdict for row in report.categories] == ["suspect", "no boxes", "seen"]
    assert (report.categories[0].train_masks, report.categories[0].train_rectangles) == (10, 9)
    assert len(report.fatal) == 1
    assert "cat (9 of 10)" in report.fatal[0]
    assert "--split" in report.fatal[0]
    assert not any("--split" in note for note in report.notes)


def test_if_no_other_category_has_masks_suspects_leave_nothing(make_data):
    """Emptying them makes a box-only data set, and that is said now."""
    report = check_dataset(*_pair(make_data, [{"segmentation": SQUARE}] * 5, [{"segmentation": SQUARE}] * 5))
    assert "at least one category with masks is needed" in report.fatal[0]
    assert any("mask AP means nothing: cat" in note for note in report.notes)


@pytest.mark.parametrize(("fakes", "reals"), [(4, 0), (8, 1)])
def test_a_few_rectangles_are_no_reason_to_suspect(make_data, fakes, reals):
    """Fewer than five masks, or fewer than nine of ten."""
    train = [{"segmentation": SQUARE}] * fakes + [{"segmentation": TRIANGLE}] * reals
    report = check_dataset(*_pair(make_data, train, [{}]))
    assert report.categories[0].train_rectangles == fakes
    assert report.categories[0].verdict == "seen"
    assert report.fatal == ()


def test_what_makes_a_poor_split_is_noted(make_data):
    """Few seen categories, few masks in one, few boxes, mostly tiny boxes: named with their numbers."""
    train = [{"segmentation": TRIANGLE}] * 3 + [{}] * 8 + [{"category_id": 7, "bbox": [0, 0, 20, 16]}]
    notes = "\n".join(check_dataset(*_pair(make_data, train, [{}])).notes)
    assert "only 1 category with masks" in notes
    assert "fewer than 10 masks to learn from: cat (3)" in notes
    assert "fewer than 10 boxes in training, so hardly learnt by the detector: dog (1)" in notes
    assert "mostly tiny; a larger --min-size of `maskx detect train` may help: cat (11 of 11)" in notes


def test_masks_everywhere_are_noted(make_data):
    """With ordinary COCO data the user must hold some categories back."""
    report = check_dataset(*_pair(make_data, [{"segmentation": SQUARE}], [{"segmentation": SQUARE}]))
    assert "--split" in report.notes[0]


def test_the_report_is_text_and_json(make_data):
    """The table has a line for each category; the JSON survives a round trip."""
    report = check_dataset(*_pair(make_data, [{"segmentation": SQUARE}], [{}]))
    lines = report.to_text().splitlines()
    assert lines[0].split()[:2] == ["id", "category"]
    assert lines[1].split() == ["3", "cat", "1", "1", "1", "0", "1", "1", "0", "seen"]
    assert "1 training and 1 validation images" in report.to_text()
    assert json.loads(json.dumps(report.to_json()))["categories"][0]["verdict"] == "seen"


def test_real_coco_is_sound(coco_mini):
    """All 80 categories of the real data have masks."""
    report = check_dataset(*coco_mini)
    assert report.fatal == ()
    assert {row.verdict for row in report.categories} == {"seen"}
    assert sum(row.train_boxes for row in report.categories) == 2945
    assert sum(row.train_rectangles for row in report.categories) < 20  # small cups, books and traffic lights
