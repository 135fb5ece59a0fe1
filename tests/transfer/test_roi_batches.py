"""Batches of seen RoIs: a pure function of seed and step, over the rows of seen categories alone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from cache_fakes import without_checksums
from pretended_cuda import pretended_cuda

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.errors import CacheError
from maskx_pipeline.transfer import roi_batches
from maskx_pipeline.transfer.feature_place import FeaturePlace
from maskx_pipeline.transfer.roi_batches import Drawing, RoIBatches, box_rois, box_rows, mask_rois, mask_rows

WriteCache = Callable[..., Path]

CPU = torch.device("cpu")


@pytest.fixture
def cache(write_cache: WriteCache) -> Iterator[RoICache]:
    with RoICache(write_cache()) as opened:
        yield opened


@pytest.fixture(params=["float16", "int8"])
def any_cache(write_cache: WriteCache, request: pytest.FixtureRequest) -> Iterator[RoICache]:
    """One for each type that features may be stored in."""
    with RoICache(write_cache(feature_dtype=request.param)) as opened:
        yield opened


def _rois(cache: RoICache, *, seed: int = 0, rois_per_batch: int = 7, cache_in: str = "auto") -> RoIBatches:
    drawing = Drawing(seed=seed, device=CPU, cache_in=cache_in)
    return mask_rois(cache, {1, 3, 4}, drawing, rois_per_batch=rois_per_batch)


def test_only_rows_of_seen_categories_are_used(cache: RoICache) -> None:
    """Every row of a seen category belongs to it, and none of another."""
    rois = _rois(cache)
    assert rois.rows.tolist() == [row for row, label in enumerate(cache.train.labels.tolist()) if label in {1, 3, 4}]


def test_an_epoch_takes_every_row_once(cache: RoICache) -> None:
    """24 rows in batches of 7: steps 0 to 23 are exactly seven epochs, and batches are always full."""
    rois = _rois(cache)
    counts = np.bincount(np.concatenate([rois.positions(step) for step in range(24)]), minlength=24)
    assert counts.tolist() == [7] * 24
    assert len(set(np.concatenate([_rois(cache, rois_per_batch=8).positions(step) for step in range(3)]))) == 24


def test_a_batch_depends_on_seed_and_step_alone(cache: RoICache) -> None:
    """Asked out of order, by another object, a step has the same rows; another seed has others."""
    forwards, jumping = _rois(cache), _rois(cache)
    expected = [forwards.positions(step).tolist() for step in range(9)]
    assert [jumping.positions(step).tolist() for step in reversed(range(9))] == expected[::-1]
    other = _rois(cache, seed=1)
    assert [other.positions(step).tolist() for step in range(9)] != expected


def test_epochs_have_different_orders(cache: RoICache) -> None:
    """With three batches to an epoch, no epoch repeats the batches of the one before."""
    rois = _rois(cache, rois_per_batch=8)
    epochs = [[rois.positions(3 * epoch + step).tolist() for step in range(3)] for epoch in range(4)]
    assert all(one != other for one, other in itertools.pairwise(epochs))


def test_a_batch_larger_than_the_data_takes_rows_of_the_next_epochs(cache: RoICache) -> None:
    """With 24 rows, a batch of 60 has each row two or three times."""
    counts = np.bincount(_rois(cache, rois_per_batch=60).positions(0), minlength=24)
    assert set(counts.tolist()) == {2, 3}


@pytest.mark.parametrize("steps", [(0, 1, 2), (5, 6, 2)])
def test_batches_hold_the_rows_of_the_cache(any_cache: RoICache, steps: tuple[int, ...]) -> None:
    """Features, labels and targets of a batch are those rows of the file, also where steps are not in order."""
    cache = any_cache
    with _rois(cache) as rois:
        for step in steps:
            features, labels, targets = rois.batch(step)
            rows = rois.rows[rois.positions(step)]
            assert features.dtype == torch.float16
            assert np.array_equal(features.numpy(), cache.read_features("train", rows))
            assert np.array_equal(labels.numpy(), cache.train.labels[rows])
            assert np.array_equal(targets.numpy(), cache.read_targets(rows))


@pytest.mark.parametrize("place", ["ram", "gpu"])
@pytest.mark.parametrize("steps", [(0, 1, 2, 3, 4), (5, 6, 2, 2)])
def test_batches_are_the_same_wherever_features_are_kept(
    any_cache: RoICache, place: str, steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read once into memory, or a GPU's, equals what is read from the file step by step, bit for bit."""
    cache = any_cache
    with _rois(cache, cache_in="disk") as streamed:
        expected = [tuple(column.clone() for column in streamed.batch(step)) for step in steps]
    if place == "gpu":  # the CPU stands for it
        monkeypatch.setattr(roi_batches, "place_features", lambda *_, **__: FeaturePlace("gpu", ""))
        monkeypatch.setattr(roi_batches, "_ROWS_PER_READ", 5)
    with _rois(cache, cache_in=place) as kept:
        monkeypatch.setattr(RoICache, "read_stored", None)  # nothing is read any more
        for step, columns in zip(steps, expected, strict=True):
            assert all(map(torch.equal, kept.batch(step), columns))


def test_the_log_says_where_features_are_taken_from_and_why(cache: RoICache, caplog: pytest.LogCaptureFixture) -> None:
    """Above all where the program chose."""
    with caplog.at_level("INFO", logger="maskx"), _rois(cache), _rois(cache, cache_in="ram"):
        assert "taken from disk (0.00 GB; the device is no GPU)" in caplog.text
        assert "taken from ram (0.00 GB, as asked)" in caplog.text


@pytest.mark.parametrize("place", ["ram", "gpu"])
def test_features_are_kept_as_they_are_stored(
    write_cache: WriteCache, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that twice as many RoIs fit; and as many bytes are asked for: 6 channels of 4 x 4 int8, and 8 x 8 targets."""
    asked: list[int] = []

    def put(*_: object, num_bytes: int, **__: object) -> FeaturePlace:
        asked.append(num_bytes)
        return FeaturePlace(place, "")

    monkeypatch.setattr(roi_batches, "place_features", put)
    with RoICache(write_cache(feature_dtype="int8")) as cache, _rois(cache) as rois:
        assert asked == [24 * (6 * 4 * 4 + 6 * 4 + 8 * 8)]
        kept = rois._in_ram if place == "ram" else rois._resident
        assert kept is not None
        assert sum(column.nbytes for column in kept[:2]) == 24 * (6 * 4 * 4 + 6 * 4)


def test_a_scale_that_is_not_finite_stops_the_step(write_cache: WriteCache) -> None:
    """The error of the thread that reads reaches who asks for the batch."""
    path = write_cache(feature_dtype="int8")
    with h5py.File(path, "r+") as file:
        without_checksums(file)
        file["train/feature_scales"][:] = np.nan
    with RoICache(path) as cache, _rois(cache) as rois, pytest.raises(CacheError, match="is not finite"):
        rois.batch(0)


def test_no_seen_category_is_an_error(cache: RoICache) -> None:
    """An empty seen set leaves nothing to learn from, and the error names the option."""
    with pytest.raises(CacheError, match=r"No category is seen.*\n.*--split"):
        mask_rows(cache, set())


def test_a_seen_category_without_rois_is_an_error_that_names_it(write_cache: WriteCache) -> None:
    """A category that is said to be seen but has no masks in the cache would be measured as seen, so it is refused."""
    path: Path = write_cache(labels=[1, 2])
    with RoICache(path) as cache, pytest.raises(CacheError, match=r"kind5.*\n.*--split masked"):
        mask_rows(cache, {1, 5})


def test_boxes_supervise_every_other_row(write_cache: WriteCache) -> None:
    """Rows of unseen categories, and those of seen ones whose object has no mask; no row is in both."""
    with RoICache(write_cache(unmasked=[0, 1, 9])) as cache:
        masks = mask_rows(cache, {1, 3, 4})
        boxes = box_rows(cache, {1, 3, 4})
        assert sorted([*masks.tolist(), *boxes.tolist()]) == list(range(len(cache.train)))
        assert {0, 1, 9} <= set(boxes.tolist())
        assert set(cache.train.labels[masks].tolist()) == {1, 3, 4}
        assert (cache.train.has_mask[masks] == 1).all()


def test_masks_by_a_teacher_are_trained_on_whatever_their_category(write_cache: WriteCache) -> None:
    """They are no truth of any category, so seen or unseen does not matter; no box loss is taken of them."""
    path = write_cache()
    with h5py.File(path, "r+") as file:
        without_checksums(file)
        labels = file["train/labels"][...]
        taught = np.flatnonzero(np.isin(labels, [1, 2]))[:5]
        values = file["train/has_mask"][...]
        values[taught] = 2
        file["train/has_mask"][...] = values
    with RoICache(path) as cache:
        masks, boxes = mask_rows(cache, {1, 3, 4}), box_rows(cache, {1, 3, 4})
        assert sorted(masks.tolist()) == sorted({*np.flatnonzero(np.isin(labels, [1, 3, 4])), *taught.tolist()})
        assert sorted([*masks.tolist(), *boxes.tolist()]) == list(range(len(labels)))


def test_a_batch_of_boxes_has_the_boxes_of_object_and_roi_and_the_colours(write_cache: WriteCache) -> None:
    """In the order of its rows, which another stream of batches draws otherwise."""
    with RoICache(write_cache(colours=True)) as cache:
        drawing = Drawing(seed=0, device=CPU, cache_in="disk", streams=2)
        boxes = box_rois(cache, {1, 3, 4}, drawing, rois_per_batch=7, colours=True)
        assert boxes is not None
        with boxes:
            rows = boxes.rows[boxes.positions(2)]
            features, labels, object_boxes, roi_boxes, colours = boxes.batch(2)
        np.testing.assert_array_equal(features.numpy(), cache.read_features("train", rows))
        np.testing.assert_array_equal(labels.numpy(), cache.train.labels[rows])
        np.testing.assert_array_equal(object_boxes.numpy(), cache.train.object_boxes[rows])
        np.testing.assert_array_equal(roi_boxes.numpy(), cache.train.boxes[rows])
        np.testing.assert_array_equal(colours.numpy(), cache.read_colours(rows))
        masks = mask_rois(cache, {2, 5, 6}, drawing, rois_per_batch=7)
        with masks:
            assert masks.rows.tolist() == boxes.rows.tolist()
            assert masks.positions(0).tolist() != boxes.positions(0).tolist()
        assert box_rois(cache, set(range(1, 7)), drawing, rois_per_batch=7, colours=False) is None


def test_rois_of_one_kind_alone(write_cache: WriteCache) -> None:
    """The objects' own boxes are those that are equal to them, and all others are proposals."""
    with RoICache(write_cache(proposals=[2, 3, 17, 30])) as cache:
        assert set(mask_rows(cache, {1, 3, 4}, "proposals").tolist()) == {2, 3, 17, 30}


def test_a_kind_of_rois_that_a_category_lacks_is_named(cache: RoICache) -> None:
    """Its masks are there, so the hint is another one."""
    with pytest.raises(CacheError, match=r"no proposals RoIs of seen categories: kind1, .*\n.*--rois both"):
        mask_rows(cache, {1, 3}, "proposals")


@pytest.mark.parametrize("feature_dtype", ["float16", "int8"])
@pytest.mark.parametrize("cache_in", ["disk", "ram", "gpu"])
def test_batches_are_on_the_device_from_wherever_they_come(
    write_cache: WriteCache, cache_in: str, feature_dtype: str
) -> None:
    """And hold what they hold on a CPU."""
    path = write_cache(colours=True, feature_dtype=feature_dtype)
    with RoICache(path) as cache, pretended_cuda() as device, contextlib.ExitStack() as stack:
        streams = []
        for at, place in ((CPU, "disk"), (device, cache_in)):
            drawing = Drawing(seed=0, device=at, cache_in=place)
            masks = mask_rois(cache, {1, 2}, drawing, rois_per_batch=3)
            boxes = box_rois(cache, {1, 2}, drawing, rois_per_batch=3, colours=True)
            assert boxes is not None
            streams.append([stack.enter_context(masks), stack.enter_context(boxes)])
        for step in range(3):
            for expected, found in zip(*streams, strict=True):
                for mine, wanted in zip(found.batch(step), expected.batch(step), strict=True):
                    assert mine.device.type == "cuda"
                    assert torch.equal(mine.cpu(), wanted)
