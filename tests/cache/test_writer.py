"""Writing rows, committing and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cache_fakes import CATEGORIES, make_identity, make_weights

from maskx_pipeline.cache.hdf5_file import chunk_offsets, places_of_rows
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import Dimensions
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import partial_path

C, S, M = 3, 4, 6


def create(
    path: Path, rows: int = 10, feature_dtype: str = "float16", colours: bool = False, **identity: Any
) -> RoICacheWriter:
    return RoICacheWriter.create(
        path,
        identity=make_identity(**identity),
        categories=CATEGORIES,
        class_weights=make_weights(),
        dimensions=Dimensions(C, S, M, feature_dtype, colours),
        train_rows=rows,
    )


def train_rows(count: int, first: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng([first, count])
    return {
        "features": generator.normal(size=(count, C, S, S)).astype(np.float16),
        "boxes": np.tile(np.array([1, 2, 3, 4], dtype=np.float32), (count, 1)),
        "image_ids": np.arange(first, first + count),
        "annotation_ids": np.arange(first, first + count) * 2,
        "labels": np.full(count, 2),
        "ious": np.full(count, 0.75, dtype=np.float32),
        "flipped": np.zeros(count, dtype=np.uint8),
        "targets": generator.integers(0, 2, (count, M, M), dtype=np.uint8),
        "object_boxes": np.tile(np.array([1, 1, 4, 5], dtype=np.float32), (count, 1)),
        "has_mask": np.arange(count, dtype=np.uint8) % 2,
    }


def finish(writer: RoICacheWriter) -> RoICache:
    writer.begin_val(detection_rows=7, ground_truth_rows=2)
    writer.commit(5)
    return RoICache(writer.finish())


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Every column, in the order of writing, and no more rows than were added."""
    written = [train_rows(3), train_rows(0, 3), train_rows(4, 3)]
    with create(tmp_path / "cache.h5") as writer:
        for rows in written:
            writer.append("train", **rows)
        writer.commit(1)
        cache = finish(writer)
    assert len(cache.train) == 7
    everything = {name: np.concatenate([rows[name] for rows in written]) for name in written[0]}
    for name in ("boxes", "image_ids", "annotation_ids", "labels", "ious", "flipped", "object_boxes", "has_mask"):
        np.testing.assert_array_equal(getattr(cache.train, name), everything[name])
    np.testing.assert_array_equal(cache.read_features("train", range(7)), everything["features"])
    np.testing.assert_array_equal(cache.read_targets(range(7)), everything["targets"])
    assert len(cache.detections) == len(cache.ground_truth) == 0


@pytest.mark.parametrize(
    ("feature_dtype", "sizes"),
    [("float16", {"features": C * S * S * 2}), ("int8", {"features": C * S * S, "feature_scales": C * 4})],
)
def test_every_roi_is_one_chunk(tmp_path: Path, feature_dtype: str, sizes: dict[str, int]) -> None:
    """So that a random read is one read of the disk, and of its scales one more."""
    with create(tmp_path / "cache.h5", feature_dtype=feature_dtype) as writer:
        writer.append("train", **train_rows(6))
        writer.commit(1)
        finish(writer)
    with h5py.File(tmp_path / "cache.h5") as file:
        for name, size in sizes.items():
            dataset = file[f"train/{name}"]
            assert dataset.chunks == (1, *dataset.shape[1:])
            assert dataset.id.get_num_chunks() == 6
            assert {dataset.id.get_chunk_info(i).size for i in range(6)} == {size}


@pytest.mark.parametrize("feature_dtype", ["float16", "int8"])
def test_a_finished_file_has_no_room_left_over(tmp_path: Path, feature_dtype: str) -> None:
    """Upper bounds are generous; what is not used is cut off, not left as a hole that copying would fill."""
    rows, row_bytes = 200, 256 * 14 * 14 * 2
    with RoICacheWriter.create(
        tmp_path / "cache.h5",
        identity=make_identity(),
        categories=CATEGORIES,
        class_weights=make_weights(),
        dimensions=Dimensions(256, 14, 28, feature_dtype),
        train_rows=50 * rows,
    ) as writer:
        writer.begin_val(detection_rows=50 * rows, ground_truth_rows=0)
        size = partial_path(tmp_path / "cache.h5").stat().st_size
        assert size < 51 * rows * row_bytes  # the train rows that were not used are gone
        writer.append(
            "detections",
            features=np.ones((rows, 256, 14, 14), dtype=np.float16),
            boxes=np.ones((rows, 4), dtype=np.float32),
            scores=np.ones(rows, dtype=np.float32),
            labels=np.ones(rows, dtype=np.int64),
            image_ids=np.ones(rows, dtype=np.int64),
        )
        writer.commit(1)
        path = writer.finish()
    assert path.stat().st_size < 2 * rows * row_bytes


def test_resuming_drops_what_was_not_committed(tmp_path: Path) -> None:
    """The counter decides, not what happens to lie in the file."""
    path = tmp_path / "cache.h5"
    with create(path) as writer:
        writer.append("train", **train_rows(3))
        writer.commit(2)
        writer.append("train", **train_rows(4, 50))
    with RoICacheWriter.resume(path, identity=make_identity()) as writer:
        assert writer.images_done == 2
        writer.append("train", **train_rows(1, 9))
        writer.commit(3)
        cache = finish(writer)
    assert cache.train.image_ids.tolist() == [0, 1, 2, 9]


def test_rows_are_on_the_disk_before_the_counter_counts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the two must find the old counter, which is the order of the two flushes of a commit."""
    path, counters = tmp_path / "cache.h5", []
    real = RoICacheWriter._sync

    def sync(self: RoICacheWriter) -> None:
        real(self)
        position = self._file["progress"].id.get_offset()
        stored = np.frombuffer(partial_path(path).read_bytes()[position:][:96], dtype="<i8").reshape(2, 6)
        counters.append(stored[:, :5].tolist())

    monkeypatch.setattr(RoICacheWriter, "_sync", sync)
    with create(path) as writer:
        writer.append("train", **train_rows(3))
        writer.commit(2)
    first, second = [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]  # number of the commit, images, rows of each group
    assert counters == [[first, second], [[2, 2, 3, 0, 0], second]]


def test_a_counter_that_was_torn_is_not_believed(tmp_path: Path) -> None:
    """The one before it holds, and its rows are whole."""
    path = tmp_path / "cache.h5"
    with create(path) as writer:
        for number in (1, 2):
            writer.append("train", **train_rows(3, 10 * number))
            writer.commit(number)
        position = writer._file["progress"].id.get_offset()
    content = bytearray(partial_path(path).read_bytes())
    for torn, done in ((position + 56, 1), (position + 8, None)):  # the images of the last commit, then of the other
        content[torn] += 1
        partial_path(path).write_bytes(content)
        if done is None:
            with pytest.raises(CacheError, match="damaged"):
                RoICacheWriter.resume(path, identity=make_identity())
        else:
            with RoICacheWriter.resume(path, identity=make_identity()) as writer:
                assert writer.images_done == done


def test_uncommitted_rows_cannot_be_finished(tmp_path: Path) -> None:
    """A mistake of the caller, named instead of losing rows."""
    with create(tmp_path / "cache.h5") as writer:
        writer.append("train", **train_rows(3))
        with pytest.raises(ValueError, match="commit"):
            writer.begin_val(detection_rows=0, ground_truth_rows=0)


def test_colours_must_be_given_where_the_cache_was_made_for_them(tmp_path: Path) -> None:
    """And nowhere else: rows without them would show what lay on the disk."""
    colours = np.zeros((3, M, M, 3), dtype=np.uint8)
    for made_for, given in ((True, {}), (False, {"colours": colours})):
        with create(tmp_path / "cache.h5", colours=made_for) as writer, pytest.raises(ValueError, match="colours"):
            writer.append("train", **train_rows(3), **given)


@pytest.mark.parametrize("rows", [{"labels": np.ones(2)}, {"features": np.ones((3, C, S, 5))}])
def test_columns_of_wrong_shape_are_refused(tmp_path: Path, rows: dict[str, Any]) -> None:
    """Neither unequal lengths nor features of another size reach the file."""
    with create(tmp_path / "cache.h5") as writer, pytest.raises(ValueError, match=r"equal lengths|features are"):
        writer.append("train", **{**train_rows(3), **rows})


def test_more_rows_than_announced_are_refused(tmp_path: Path) -> None:
    """The room was allocated at the start."""
    with create(tmp_path / "cache.h5", rows=2) as writer, pytest.raises(ValueError, match="room for 2"):
        writer.append("train", **train_rows(3))


def test_an_unfinished_file_of_another_export_is_refused(tmp_path: Path) -> None:
    """The key that differs is named, and the file stays as it is."""
    path = tmp_path / "cache.h5"
    create(path, iou=0.5).close()
    before = partial_path(path).read_bytes()
    with pytest.raises(CacheError, match=r"iou: 0.5 -> 0.7") as caught:
        RoICacheWriter.resume(path, identity=make_identity(iou=0.7))
    assert "--overwrite" in str(caught.value)
    assert partial_path(path).read_bytes() == before


def test_a_damaged_unfinished_file_is_refused(tmp_path: Path) -> None:
    """With what to do about it: what is no HDF5 file was not written by an export, so --overwrite is no answer."""
    path = tmp_path / "cache.h5"
    create(path).close()
    whole = partial_path(path).read_bytes()
    broken = whole[:40] + b"\xff" * 64 + whole[104:]
    for content, word in (
        (whole[: len(whole) // 2], "is truncated"),
        (broken, "is damaged"),
        (b"no HDF5" * 100, "is not"),
    ):
        partial_path(path).write_bytes(content)
        with pytest.raises(CacheError, match=word) as caught:
            RoICacheWriter.resume(path, identity=make_identity())
        assert ("--overwrite" in str(caught.value)) == (word != "is not")


def test_creating_again_starts_from_nothing(tmp_path: Path) -> None:
    """Rows and pending changes of an earlier attempt are gone."""
    path = tmp_path / "cache.h5"
    with create(path) as writer:
        writer.append("train", **train_rows(3))
        writer.commit(2)
    with create(path) as writer:
        assert writer.images_done == 0
        assert len(finish(writer).train) == 0


def test_places_of_rows_are_those_that_hdf5_names(tmp_path: Path) -> None:
    """Neighbours are one place; rows that share a chunk have all of it; a chunk that was never allocated has none."""
    with h5py.File(tmp_path / "any.h5", "w") as file:
        dataset = file.create_dataset("rows", shape=(10, 2), chunks=(3, 2), dtype="<i4")  # chunks of 24 bytes
        for row in (9, 0, 3):
            dataset[row] = 1
        offsets = chunk_offsets(dataset)
        named = [dataset.id.get_chunk_info_by_coord((first, 0)).byte_offset for first in (0, 3, 9)]
        assert offsets.tolist() == [named[0], named[1], -1, named[2]]
        assert places_of_rows(dataset, offsets, 4, 2) == [(named[1], 24)]
        assert places_of_rows(dataset, np.array([100, 124, 148, 300]), 1, 8) == [(100, 72)]
        assert places_of_rows(dataset, np.array([100, 124, 148, 300]), 8, 2) == [(148, 24), (300, 24)]


def test_an_unfinished_file_whose_rows_have_no_place_is_refused(tmp_path: Path) -> None:
    """Writing them would change the structure of the file, which a kill must not meet."""
    path = tmp_path / "cache.h5"
    create(path).close()
    with h5py.File(partial_path(path), "r+") as file:
        del file["train/ious"]
        file.create_dataset("train/ious", shape=(10,), maxshape=(None,), chunks=(10,), dtype="<f4")
    with (
        RoICacheWriter.resume(path, identity=make_identity()) as writer,
        pytest.raises(CacheError, match="is damaged: ious of train") as caught,
    ):
        writer.append("train", **train_rows(2))
    assert "--overwrite" in str(caught.value)
