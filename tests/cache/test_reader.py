"""Opening a RoI cache, refusing what is none, and reading it from several threads and processes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cache_fakes import CATEGORIES, CachedRoIs, make_weights, without_checksums
from torch.utils.data import DataLoader

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.errors import CacheError


def test_the_header_is_read(cache_path: Path) -> None:
    """Categories, class weights and all sizes come from the file."""
    with RoICache(cache_path) as cache:
        assert cache.categories == CATEGORIES
        assert (cache.channels, cache.roi_size, cache.mask_size, cache.class_weights.w_cls.shape[1]) == (3, 4, 6, 5)
        for name in ("w_cls", "b_cls", "w_box", "b_box"):
            np.testing.assert_array_equal(getattr(cache.class_weights, name), getattr(make_weights(), name))
        assert cache.identity.export["iou"] == 0.5


def test_features_are_read_in_the_order_asked_for(cache_path: Path) -> None:
    """Also twice the same row, and none at all."""
    with h5py.File(cache_path) as file:
        everything = file["train/features"][...]
    with RoICache(cache_path) as cache:
        order = [5, 0, 5, len(cache.train) - 1]
        np.testing.assert_array_equal(cache.read_features("train", order), everything[order])
        np.testing.assert_array_equal(cache.read_features("train", np.array(order)), everything[order])
        assert cache.read_features("train", []).shape == (0, 3, 4, 4)
        assert cache.feature_bytes("train") == everything.nbytes


def test_eight_bits_are_read_as_they_are_stored_and_as_float16(int8_path: Path) -> None:
    """Scales and int8 for who keeps them, also into given memory; their product for everyone else."""
    with h5py.File(int8_path) as file:
        scales, values = file["train/feature_scales"][...], file["train/features"][...]
    with RoICache(int8_path) as cache:
        order = [5, 0, 5, len(cache.train) - 1]
        out = [np.empty((4, 3), "<f4"), np.empty((4, 3, 4, 4), "i1")]
        stored = cache.read_stored("train", order, out=out)
        assert all(one is other for one, other in zip(stored, out, strict=True))
        np.testing.assert_array_equal(stored[0], scales[order])
        np.testing.assert_array_equal(stored[1], values[order])
        features = cache.read_features("train", order)
        assert features.dtype == np.float16
        np.testing.assert_array_equal(features, (values * scales[:, :, None, None])[order].astype(np.float16))
        assert cache.read_features("train", []).shape == (0, 3, 4, 4)
        assert cache.feature_bytes("train") == values.nbytes + scales.nbytes
        assert cache.feature_bytes("detections") == 2 * len(cache.detections) * 3 * 4 * 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_scale_that_is_not_finite_is_named_where_it_is_read(int8_path: Path, bad: float) -> None:
    """Other rows are read; scales are too many to look at when the file is opened."""
    with h5py.File(int8_path, "r+") as file:
        without_checksums(file)
        file["train/feature_scales"][3, 1] = bad
    with RoICache(int8_path) as cache:
        cache.read_features("train", [2, 4])
        with pytest.raises(CacheError, match=r"train/feature_scales\[3\] is not finite") as caught:
            cache.read_features("train", [4, 3])
    assert str(int8_path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["feature_scales", "features"])
def test_other_layouts_of_eight_bits_are_read_too(int8_path: Path, name: str) -> None:
    """Contiguous, as a few lines of h5py write them."""
    with RoICache(int8_path) as cache:
        expected = cache.read_features("train", range(len(cache.train)))
    with h5py.File(int8_path, "r+") as file:
        without_checksums(file)
        _replaced(f"train/{name}", lambda values: values)(file)
    with RoICache(int8_path) as cache:
        np.testing.assert_array_equal(cache.read_features("train", [3, 1, 2]), expected[[3, 1, 2]])


def test_the_digest_tells_the_types_apart(cache_path: Path, int8_path: Path) -> None:
    """Even where another writer gives both files the same identity."""
    with RoICache(cache_path) as half, RoICache(int8_path) as eight:
        assert half.identity == eight.identity
        assert half.digest != eight.digest


@pytest.mark.parametrize("index", [-1, 10_000])
def test_rows_that_do_not_exist_are_an_error(cache_path: Path, index: int) -> None:
    """Never the row at the other end."""
    with RoICache(cache_path) as cache, pytest.raises(IndexError):
        cache.read_features("train", [0, index])


@pytest.mark.parametrize("layout", [{}, {"chunks": (2, 3, 4, 4)}, {"chunks": (1, 3, 4, 4), "compression": "gzip"}])
def test_other_layouts_of_the_features_are_read_too(cache_path: Path, layout: dict[str, Any]) -> None:
    """A cache of another writer may be contiguous, chunked otherwise, or compressed."""
    with h5py.File(cache_path, "r+") as file:
        without_checksums(file)
        everything = file["train/features"][...]
        del file["train/features"]
        file.create_dataset("train/features", data=everything, **layout)
    with RoICache(cache_path) as cache:
        np.testing.assert_array_equal(cache.read_features("train", [3, 1]), everything[[3, 1]])


@pytest.mark.parametrize("file_layout", [{}, {"libver": "latest"}, {"userblock_size": 512}])
def test_rows_read_past_hdf5_are_those_that_hdf5_shows(cache_path: Path, file_layout: dict[str, Any]) -> None:
    """Whatever chunk index the writer chose; what lies behind a user block is left to HDF5."""
    other = cache_path.with_name("other.h5")
    with h5py.File(cache_path) as file, h5py.File(other, "w", **file_layout) as copy:
        for name in file:
            file.copy(name, copy)
        copy.attrs.update(file.attrs)
        without_checksums(copy)
        everything = file["train/features"][...]
        del copy["train/features"]
        rows = copy.create_dataset("train/features", everything.shape, "<f2", chunks=(1, *everything.shape[1:]))
        for row in np.random.default_rng(0).permutation(len(everything)):
            rows[row] = everything[row]  # so that the order in the file is another one
        everything = rows[...]
    with RoICache(other) as cache:
        np.testing.assert_array_equal(cache.read_features("train", range(len(everything))), everything)
        np.testing.assert_array_equal(cache.read_features("train", [3, 1, 2]), everything[[3, 1, 2]])


def test_rows_that_are_neighbours_are_one_read(cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file and in the order asked for; and what the system reads in pieces is put together."""
    sizes: list[int] = []

    def in_pieces(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        sizes.append(len(buffers[0]))
        return os.pread(descriptor, 70, offset) and _fill(buffers[0], os.pread(descriptor, 70, offset))

    with RoICache(cache_path) as cache:
        everything = cache.read_features("train", range(len(cache.train)))
        monkeypatch.setattr("maskx_pipeline.cache.feature_rows.os.preadv", in_pieces)
        np.testing.assert_array_equal(cache.read_features("train", [0, 1, 5, 4]), everything[[0, 1, 5, 4]])
    row = everything[0].nbytes
    assert sizes == [2 * row, 2 * row - 70, 2 * row - 140, row, row - 70, row, row - 70]


def test_eight_bits_and_their_scales_are_read_past_hdf5_too(int8_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours by one read of each: 3 channels of a float32 scale, and of 4 x 4 bytes."""
    sizes: list[int] = []
    real = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        sizes.append(len(buffers[0]))
        return real(descriptor, buffers, offset)

    with RoICache(int8_path) as cache:
        monkeypatch.setattr("maskx_pipeline.cache.feature_rows.os.preadv", counted)
        cache.read_features("train", [0, 1, 5])
    assert sizes == [24, 12, 96, 48]


def _fill(buffer: memoryview, data: bytes) -> int:
    count = min(len(buffer), len(data))
    buffer[:count] = data[:count]
    return count


def test_a_file_cut_while_it_is_open_is_an_error_and_not_zeros(cache_path: Path) -> None:
    """Rows before the cut are still read; neither zeros nor what the buffer held before stand for the others."""
    with RoICache(cache_path) as cache:
        count = len(cache.detections)
        first = cache.read_features("detections", [0])
        with h5py.File(cache_path) as file:
            last = max(file["val/detections/features"].id.get_chunk_info(row).byte_offset for row in range(count))
        os.truncate(cache_path, last + 10)
        np.testing.assert_array_equal(cache.read_features("detections", [0]), first)
        with pytest.raises(CacheError, match=f"ends at byte {last + 10}") as caught:
            cache.read_features("detections", range(count))
    assert str(cache_path) in caught.value.message
    assert caught.value.hint


def test_a_file_whose_index_of_rows_was_cut_off_is_an_error(cache_path: Path) -> None:
    """The index is read with the first row."""
    with RoICache(cache_path) as cache:
        os.truncate(cache_path, 100)
        with pytest.raises(CacheError, match="cannot be read"):
            cache.read_features("train", [0])


def test_a_closed_cache_reads_nothing(cache_path: Path) -> None:
    """Least of all from a file that was opened since and got the same descriptor."""
    cache = RoICache(cache_path)
    cache.read_features("train", [0])
    cache.close()
    with cache_path.open("rb"), pytest.raises(ValueError, match=r"[Nn]ot a"):
        cache.read_features("train", [0])


def test_a_buffer_that_is_not_contiguous_is_refused(cache_path: Path) -> None:
    """Rows would go into a copy of it."""
    with RoICache(cache_path) as cache, pytest.raises(TypeError):
        cache.read_stored("train", [0, 1], out=[np.empty((2, 3, 4, 8), "<f2")[..., ::2]])


def test_a_missing_cache_says_what_to_run(tmp_path: Path) -> None:
    """And an unfinished one that the export can be continued."""
    with pytest.raises(CacheError, match="does not exist") as caught:
        RoICache(tmp_path / "cache.h5")
    assert "maskx export-embeddings" in str(caught.value)
    (tmp_path / "cache.h5.partial").touch()
    with pytest.raises(CacheError, match="not finished") as caught:
        RoICache(tmp_path / "cache.h5")
    assert "continues" in str(caught.value)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.01])
def test_a_truncated_cache_is_refused(cache_path: Path, kept: float) -> None:
    """As an interrupted copy leaves it."""
    content = cache_path.read_bytes()
    cache_path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CacheError, match="truncated"):
        RoICache(cache_path)


def test_a_file_that_is_no_hdf5_is_refused(cache_path: Path) -> None:
    """Such as an empty one."""
    for content in (b"", b"{}" * 1000):
        cache_path.write_bytes(content)
        with pytest.raises(CacheError, match="not an HDF5 file"):
            RoICache(cache_path)


def _attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def _without(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        else:
            del file.attrs[name]

    return change


def _replaced(name: str, function: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        values = function(file[name][...])
        del file[name]
        file[name] = values

    return change


def test_a_cache_of_the_first_version_is_refused_with_the_command(cache_path: Path) -> None:
    """It has neither the objects' boxes nor objects without masks; a file of any version is replaced."""
    with h5py.File(cache_path, "r+") as file:
        without_checksums(file)
        file.attrs["schema_version"] = 1
        del file["train/object_boxes"], file["train/has_mask"]
    with pytest.raises(CacheError, match="schema version 1; this maskx reads version 2") as caught:
        RoICache(cache_path)
    assert "`maskx export-embeddings --overwrite`" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_attribute("format", "something"), "no RoI cache"),
        (_without("format"), "no RoI cache"),
        (_attribute("schema_version", 3), "schema version 3"),
        (_attribute("complete", False), "not finished"),
        (_without("complete"), "not finished"),
        (_without("detector_sha256"), "detector_sha256"),
        (_attribute("export_identity", "{"), "made from"),
        (_attribute("mask_size", 0), "mask_size"),
        (_attribute("mask_size", 7), "train/targets has shape"),
        (_without("val/detections"), "val/detections/features is missing"),
        (_without("train/ious"), "train/ious is missing"),
        (_without("categories"), "categories/id is missing"),
        (_replaced("train/features", lambda v: v.astype("f4")), "train/features has type float32"),
        (_replaced("train/features", lambda v: v[:, :, :2]), r"not \[N, C, S, S\]"),
        (_replaced("train/boxes", lambda v: v[:-1]), "train/boxes has shape"),
        (_replaced("train/labels", lambda v: v - 1), r"train/labels\[0\] is 0; labels are 1 to 3"),
        (_replaced("train/labels", lambda v: v + 3), "labels are 1 to 3"),
        (_replaced("val/ground_truth/boxes", lambda v: v * np.float32("nan")), r"boxes\[0\] is \[nan"),
        (_replaced("val/ground_truth/boxes", lambda v: v[:, ::-1]), "boxes are x1, y1, x2, y2"),
        (_replaced("train/object_boxes", lambda v: v * np.float32("inf")), r"train/object_boxes\[0\] is \["),
        (_replaced("train/object_boxes", lambda v: v[:, [0, 1, 0, 3]]), r"object_boxes\[0\] .* has an area"),
        (_without("train/object_boxes"), "train/object_boxes is missing"),
        (_replaced("train/has_mask", lambda v: v + 2), r"train/has_mask\[0\] is 3, not 0, 1 or 2"),
        (_replaced("val/ground_truth/has_mask", lambda v: v * 0 + 2), r"has_mask\[0\] is 2, not 0 or 1"),
        (_replaced("val/ground_truth/has_mask", lambda v: v + 1), r"val/ground_truth/has_mask\[0\] is 2"),
        (_without("train/has_mask"), "train/has_mask is missing"),
        (lambda f: f.create_dataset("train/colours", data=np.zeros((len(f["train/ious"]), 6, 6, 4), "u1")), r"colours"),
        (_replaced("categories/w_cls", lambda v: v[:2]), "categories/w_cls has shape"),
        (_replaced("categories/w_box", lambda v: v.ravel()), "categories/w_box has shape"),
        (_replaced("categories/name", lambda v: np.arange(3)), "does not hold text"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(cache_path: Path, change: Any, reason: str) -> None:
    """What is wrong is named, and what to do."""
    with h5py.File(cache_path, "r+") as file:
        without_checksums(file)
        change(file)
    with pytest.raises(CacheError, match=reason) as caught:
        RoICache(cache_path)
    assert str(cache_path) in caught.value.message
    assert caught.value.hint
    h5py.File(cache_path, "r+").close()  # nothing keeps it open


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without("train/feature_scales"), "train/feature_scales is missing"),
        (_replaced("train/feature_scales", lambda v: v[:-1]), r"train/feature_scales has shape \(\d+, 3\), not"),
        (_replaced("train/feature_scales", lambda v: v[:, 0]), "train/feature_scales has shape"),
        (_replaced("train/feature_scales", lambda v: v.astype("f2")), "feature_scales has type float16, not float32"),
        (_replaced("train/features", lambda v: v.astype("u1")), "has type uint8, not float16 or int8"),
        (_replaced("val/detections/features", lambda v: v.astype("i1")), "detections/features has type int8"),
        (_replaced("val/ground_truth/features", lambda v: v.astype("i1")), "ground_truth/features has type int8"),
    ],
)
def test_wrong_eight_bits_are_refused_with_the_reason(int8_path: Path, change: Any, reason: str) -> None:
    """Features and scales must agree, and val has none."""
    test_a_wrong_file_is_refused_with_the_reason(int8_path, change, reason)


def test_a_detector_without_box_weights_per_category_is_accepted(cache_path: Path) -> None:
    """One-stage detectors regress boxes for all categories alike: their w_box has no columns."""
    with h5py.File(cache_path, "r+") as file:
        without_checksums(file)
        _replaced("categories/w_box", lambda v: v[:, :0])(file)
    with RoICache(cache_path) as cache:
        assert cache.class_weights.w_box.shape == (3, 0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"detector_sha256": "00"}, "another detector"),
        ({"train_digest": "x"}, "other training annotations"),
        ({"val_digest": "x"}, "other validation annotations"),
    ],
)
def test_a_cache_of_something_else_is_refused(cache_path: Path, changed: dict[str, str], reason: str) -> None:
    """A stale cache is never used silently."""
    with RoICache(cache_path) as cache:
        right = {"detector_sha256": "ab" * 32, "train_digest": "digest of train", "val_digest": "digest of val"}
        cache.check_matches(**right)
        cache.check_matches()
        with pytest.raises(CacheError, match=reason):
            cache.check_matches(**{**right, **changed})


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_dataloader_with_workers_reads_the_same(cache_path: Path, context: str) -> None:
    """Forked workers share the open file, spawned ones open it again."""
    with RoICache(cache_path) as cache:
        rows = range(len(cache.train))
        expected = cache.read_features("train", rows), cache.read_targets(rows)
        loader = DataLoader(CachedRoIs(cache), batch_size=2, num_workers=2, multiprocessing_context=context)
        features, targets = (np.concatenate(parts) for parts in zip(*loader, strict=True))
    np.testing.assert_array_equal(features, expected[0])
    np.testing.assert_array_equal(targets, expected[1])


def test_threads_read_the_same(cache_path: Path) -> None:
    """Several threads may share one cache."""
    with RoICache(cache_path) as cache:
        expected = cache.read_features("train", range(len(cache.train)))
        orders = [np.random.default_rng(seed).permutation(len(expected)) for seed in range(40)]
        with ThreadPoolExecutor(4) as pool:
            for order, rows in zip(
                orders, pool.map(lambda order: cache.read_features("train", order), orders), strict=True
            ):
                np.testing.assert_array_equal(rows, expected[order])


def test_a_cache_is_pickled_as_its_path(cache_path: Path) -> None:
    """No features travel to another process."""
    with RoICache(cache_path) as cache:
        data = pickle.dumps(cache)
        assert len(data) < 500
        with pickle.loads(data) as copy:
            np.testing.assert_array_equal(copy.read_features("train", [2]), cache.read_features("train", [2]))
