"""The index of a large annotation file: the same data as from the file, never those of another one."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from maskx_pipeline.data import annotation_file, annotation_index, annotation_parse
from maskx_pipeline.data.annotation_columns import AnnotationColumns, EntriesInText, Stamp, columns_of_lists
from maskx_pipeline.data.annotation_file import read_annotation_columns
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.errors import DataError

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12.25]]


@pytest.fixture
def data(make_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CocoData:
    """A file that is indexed however small it is, last changed a while ago; among its objects all kinds of problems."""
    monkeypatch.setattr(annotation_file, "SMALLEST_INDEXED", 0)
    monkeypatch.setattr(annotation_index.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    annotations = [
        {"segmentation": SQUARE},
        {"bbox": [1, 2, 3]},
        {"bbox": [-5, 2, 9, 9], "area": 7.5},
        {"segmentation": [[1, 2, 3]]},
        {"id": 1},
        {"image_id": 99},
        {"iscrowd": 1, "image_id": 2, "segmentation": {"size": [16, 20], "counts": [0, 320]}},
        {"image_id": 2, "segmentation": SQUARE},
    ]
    images = [{"id": i, "file_name": name, "width": 20, "height": 16} for i, name in ((1, "é.png"), (2, "2.png"))]
    made = make_data(annotations, images=images)
    _age(made.path)
    return read_coco(made.path, made.image_dir)


def _age(path: Path) -> None:
    """Nothing can set the time of change, so the clock is what moves; see `_later`."""
    os.utime(path, ns=(time.time_ns() - 10**10,) * 2)


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns
    monkeypatch.setattr(annotation_index.time, "time_ns", lambda: now() + 10**10)


def _index(data: CocoData) -> Path:
    return annotation_index.index_path(data.path)


def _parse(*_: object, **__: object) -> None:
    raise AssertionError("parsed although there is an index")


def _same(left: CocoData, right: CocoData) -> bool:
    return left.annotations() == right.annotations() and all(
        getattr(left, name) == getattr(right, name) for name in ("images", "categories", "problems", "digest")
    )


def test_the_second_opening_gives_the_same_data_without_parsing(data: CocoData, monkeypatch: pytest.MonkeyPatch):
    """Records, masks, problems and digest come from the index as they come from the file."""
    monkeypatch.setattr(annotation_file, "parse_annotations", _parse)
    monkeypatch.setattr(Path, "read_bytes", _parse)
    again = read_coco(data.path, data.image_dir)
    assert _same(again, data)
    assert [a.segmentation for a in again.annotations_of(1)] == [SQUARE, None, None]
    assert len(again.problems) == len({p.kind for p in again.problems}) == 5


def test_a_plain_file_is_parsed_the_fast_way_with_the_result_of_the_slow_one(
    data: CocoData, monkeypatch: pytest.MonkeyPatch
):
    """Which way a file takes shows in nothing but the time."""
    assert isinstance(read_annotation_columns(data.path).entries, EntriesInText)
    _index(data).unlink()
    monkeypatch.setattr(annotation_file, "parse_annotations", lambda raw, source: None)
    slow = read_coco(data.path, data.image_dir)
    assert _same(slow, data)
    assert not _index(data).exists()


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_changed_file_is_read_again(data: CocoData, keep_times: bool):
    """Also one of the same size whose time of modification was set back."""
    status = data.path.stat()
    data.path.write_bytes(data.path.read_bytes().replace(b"12.25", b"13.75"))
    if keep_times:
        os.utime(data.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = read_coco(data.path, data.image_dir)
    assert again.digest != data.digest
    assert again.annotations()[0].segmentation[0][-1] == 13.75


def test_a_file_put_in_the_place_of_another_is_read_again(data: CocoData):
    """As by a download that is renamed when it is whole."""
    other = data.path.with_name("other.json")
    other.write_bytes(data.path.read_bytes().replace(b"12.25", b"13.75"))
    os.utime(other, ns=(data.path.stat().st_mtime_ns,) * 2)
    other.replace(data.path)
    assert read_coco(data.path, data.image_dir).digest != data.digest


def test_masks_are_never_read_from_a_file_that_changed_meanwhile(data: CocoData):
    """The digest of the data would name another file than the one the masks are of."""
    data = read_coco(data.path, data.image_dir)
    data.path.write_bytes(data.path.read_bytes().replace(b"12.25", b"13.75"))
    with pytest.raises(DataError, match=r"train\.json was changed while it was in use"):
        data.annotations()[0]
    assert data.annotations().has_mask[0]  # the numbers are still there


def test_a_file_changed_a_moment_ago_is_not_indexed(data: CocoData, monkeypatch: pytest.MonkeyPatch):
    """A second change in the same tick of the clock could not be told."""
    _index(data).unlink()
    monkeypatch.setattr(annotation_index.time, "time_ns", lambda: data.path.stat().st_ctime_ns + 10**9)
    assert _same(read_coco(data.path, data.image_dir), data)
    assert not _index(data).exists()


@pytest.mark.parametrize("content", [b"", b"\xff" * 9, b"\x02" + b"\0" * 7 + b"{}", "half"])
def test_a_broken_index_is_made_anew(data: CocoData, content: bytes | str):
    """Truncated or not an index at all."""
    whole = _index(data).read_bytes()
    _index(data).write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    assert _same(read_coco(data.path, data.image_dir), data)
    assert len(_index(data).read_bytes()) == len(whole)
    assert annotation_index.read_index(data.path, Stamp.of(data.path.stat())) is not None


def test_an_index_that_cannot_be_written_is_no_error(data: CocoData, tmp_path: Path):
    """As in a container whose home is read-only."""
    _index(data).unlink()
    _index(data).parent.rmdir()
    _index(data).parent.write_text("in the way")
    assert _same(read_coco(data.path, data.image_dir), data)


def test_nothing_is_left_beside_the_index(data: CocoData):
    """Neither beside the annotation file nor in the cache folder."""
    assert [path.name for path in _index(data).parent.iterdir()] == [_index(data).name]
    assert {path.name for path in data.path.parent.iterdir()} == {"train.json", "train", "cache"}


def test_small_files_are_not_indexed(make_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They are read in a moment, and their masks stay in memory whatever happens to the file."""
    monkeypatch.setattr(annotation_index.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    data = make_data([{"segmentation": SQUARE}])
    data.path.unlink()
    assert data.annotations()[0].segmentation == SQUARE
    assert not (tmp_path / "cache").exists()


def test_data_travel_to_other_processes(data: CocoData):
    """Data-loader workers may be started by spawn, with a pickle of what they need."""
    read_coco(data.path, data.image_dir).annotations()[0]  # the file is open
    assert _same(pickle.loads(pickle.dumps(data)), data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"id": 8', '"id": 8.0'),
        ('"iscrowd": 1', '"iscrowd": 1.0'),
        ("12.25", "NaN"),
        ("[1, 2, 3]}", '[1, "2", 3]}'),
        ('"area": 7.5', '"area": "7.5"'),
        ('"file_name": "2.png"', '"file_name": "2.png", "note": "\\ud800"'),
    ],
)
def test_what_is_not_plain_is_read_the_slow_way(data: CocoData, old: str, new: str):
    """Types that COCO does not have are for the reader that knows them all."""
    text = data.path.read_text()
    assert old in text
    data.path.write_text(text.replace(old, new))
    columns: AnnotationColumns = read_annotation_columns(data.path)
    assert not isinstance(columns.entries, EntriesInText)
    lists = json.loads(data.path.read_text())
    assert [entry["bbox"] for entry in columns.entries] == [entry["bbox"] for entry in lists["annotations"]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 2, 12, 2, 12, 12, 2]], [[2, 2, 12, 2]], [[], SQUARE[0]], [SQUARE[0], [1, 2, 3]], [["2", 2, 12, 2, 12, 12]],
        [[-20, 2, 40, 2, 12, 12]], [[-20.5, 2, 12, 2, 12, 12]], [[2, 2, 40.5, 2, 12, 12]], [[]], [],
        {}, "text", 3, {"size": 1},
    ],
)  # fmt: skip
def test_masks_of_all_kinds_are_judged_alike_on_both_ways(
    make_data, segmentation: object, monkeypatch: pytest.MonkeyPatch
):
    """The bounds of coordinates, odd and short polygons, and what is no mask at all."""
    fast = make_data([{"segmentation": segmentation}, {}])
    monkeypatch.setattr(annotation_file, "parse_annotations", lambda raw, source: None)
    assert _same(fast, read_coco(fast.path, fast.image_dir))


@pytest.mark.parametrize("seed", range(20))
def test_masks_are_judged_by_the_size_of_their_own_image(seed: int, monkeypatch: pytest.MonkeyPatch):
    """Ids in any order, an id twice (the first counts), sizes of zero and below, images that are not in the file."""
    rng = np.random.default_rng(seed)
    ids = rng.choice([0, 1, 2, 3, 5, 8, -4, 2**40], size=7).tolist()
    sizes = rng.choice([-3, 0, 1, 4, 10, 20], size=(7, 2)).tolist()
    images = [{"id": i, "file_name": f"{i}.png", "width": w, "height": h} for i, (w, h) in zip(ids, sizes, strict=True)]
    annotations = []
    for number in range(60):
        polygon = rng.choice([-21, -20, -5, -1, 0, 1, 8, 9, 20.5, 39, 41], size=rng.choice([0, 4, 6, 7, 8])).tolist()
        rle = {"size": [4, 10], "counts": [10, 30]}
        segmentation = rle if number % 7 == 0 else [polygon] * int(rng.integers(3))
        annotations.append({
            "id": number, "image_id": int(rng.choice([*ids, 0, 9, 2**41])), "category_id": 1, "bbox": [0, 0, 1, 1],
            "iscrowd": int(rng.integers(2)), "segmentation": segmentation,
        })  # fmt: skip
    lists = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "one"}]}
    raw = json.dumps(lists).encode()
    monkeypatch.setattr(annotation_parse, "_CHUNK", 16)
    fast = annotation_parse.parse_annotations(raw, source=raw)
    assert fast is not None
    slow = columns_of_lists(lists, hashlib.sha256(raw).hexdigest(), Path("a.json"))
    assert fast.flags.tolist() == slow.flags.tolist()
    assert len(set(fast.flags.tolist())) > 4
    assert fast.digest == slow.digest


@pytest.mark.parametrize("place", [0, 1, 2])
def test_entries_are_found_whatever_space_is_between_them(make_data, place: int):
    """Entries are read again by their place in the file, which white space moves."""
    data = make_data([{"segmentation": [[n, 2, 12, 2, 12, 12]]} for n in range(4)])
    pieces = data.path.read_text().split('}, {"id": ')
    pieces[place : place + 2] = [f'}} ,\n\n{{"id": {" " * 9}'.join(pieces[place : place + 2])]
    data.path.write_text('}, {"id": '.join(pieces))
    again = read_coco(data.path, data.image_dir)
    assert isinstance(read_annotation_columns(data.path).entries, EntriesInText)
    assert [a.segmentation[0][0] for a in again.annotations()] == [0, 1, 2, 3]
