"""Masks by a teacher: they are trained on, and are truth for nobody."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskx_pipeline.data import annotation_file, annotation_index, annotation_parse
from maskx_pipeline.data.category_sets import count_masks, count_teacher_masks, masked_labels
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.masks import is_from_teacher

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
TAUGHT: dict[str, Any] = {"segmentation": SQUARE, "mask_source": "teacher:sam#1"}
CAT, DOG = 1, 2
MIXED = [
    {"segmentation": SQUARE},
    TAUGHT,
    {"category_id": 7, **TAUGHT},
    {"category_id": 7},
    {"segmentation": SQUARE, "mask_source": "maskx:run#2"},
    {"segmentation": [], "mask_source": "teacher:sam#1"},
    {"iscrowd": 1, **TAUGHT},
]


def test_the_source_of_a_mask_says_whether_a_teacher_made_it() -> None:
    """What begins with `teacher:`; anything else, of any type, is no teacher's."""
    assert is_from_teacher("teacher:sam#1")
    assert not any(is_from_teacher(value) for value in (None, "", "maskx:run#1", "sam", 7, ["teacher:sam"], {}))


def again(data: CocoData, **options: Any) -> CocoData:
    return read_coco(data.path, data.image_dir, **options)


def check(read: CocoData, to_train: CocoData) -> None:
    """Of MIXED: without asking for them such masks are absent, and with it they are there and known."""
    assert read.annotations().has_mask.tolist() == [True, False, False, False, True, False, False]
    assert to_train.annotations().has_mask.tolist() == [True, True, True, False, True, False, True]
    for data in (read, to_train):
        assert data.annotations().taught.tolist() == [False, True, True, False, False, False, True]
    one, other = read.annotations()[1], to_train.annotations()[1]
    assert (one.segmentation, one.has_mask, one.taught) == (None, False, True)
    assert (other.segmentation, other.has_mask, other.taught) == (SQUARE, True, True)


def test_they_are_absent_unless_they_are_asked_for(make_data: Any) -> None:
    """The digest is the file's either way."""
    read = make_data(MIXED)
    check(read, again(read, teacher_masks=True))
    assert read.digest == again(read, teacher_masks=True).digest


def test_they_make_no_category_masked_and_are_counted_apart(make_data: Any) -> None:
    """Crowds do not count."""
    read = make_data([*MIXED, {"category_id": 7, "segmentation": SQUARE, "mask_source": "teacher:sam#1"}])
    for data in (read, again(read, teacher_masks=True)):
        assert masked_labels(data) == {CAT}
        assert count_masks(data) == {CAT: 2}
        assert count_teacher_masks(data) == {CAT: 1, DOG: 2}


def test_the_slow_way_through_the_file_knows_them_too(make_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For files that are anything but plain."""
    read = make_data(MIXED)
    monkeypatch.setattr(annotation_file, "parse_annotations", lambda *_, **__: None)
    check(again(read), again(read, teacher_masks=True))


def test_a_source_of_another_type_needs_no_slow_way(make_data: Any) -> None:
    """Tools put anything under a key of their own."""
    read = make_data([{"segmentation": SQUARE, "mask_source": {"tool": 3}}])
    raw = read.path.read_bytes()
    assert annotation_parse.parse_annotations(raw, source=raw) is not None
    assert read.annotations().has_mask.tolist() == [True]


def test_an_index_knows_them_and_one_of_an_older_version_is_not_read(
    make_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index written before there were such masks would take them for truth."""
    monkeypatch.setattr(annotation_file, "SMALLEST_INDEXED", 0)
    monkeypatch.setattr(annotation_index.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    now = time.time_ns
    monkeypatch.setattr(annotation_index.time, "time_ns", lambda: now() + 10**10)
    made = make_data(MIXED)
    os.utime(made.path, ns=(now() - 10**10,) * 2)
    again(made)
    parse = annotation_file.parse_annotations
    monkeypatch.setattr(annotation_file, "parse_annotations", lambda *_, **__: pytest.fail("read again"))
    check(again(made), again(made, teacher_masks=True))
    monkeypatch.setattr(annotation_file, "parse_annotations", parse)
    monkeypatch.setattr(annotation_index, "_VERSION", "3")
    assert again(made).annotations().taught.sum() == 3
    assert json.loads(made.path.read_text())["annotations"][1]["mask_source"] == "teacher:sam#1"
    assert np.count_nonzero(made.annotations().has_mask) == 2
