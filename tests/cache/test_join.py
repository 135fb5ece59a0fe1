"""One file that shows the rows of several."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cache_fakes
import h5py
import numpy as np
import pytest

from maskx_pipeline.cache.export import prepare, write_share
from maskx_pipeline.cache.join import join_shards
from maskx_pipeline.cache.plan import count_export
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import CacheError

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


def write_shards(
    out: Path, train: CocoData, val: CocoData, count: int, settings: Mapping[str, Any] = NO_SETTINGS, **identity: Any
) -> list[Path]:
    """What ``count`` processes would write, one after the other."""
    out.parent.mkdir(exist_ok=True)
    config, detector = cache_fakes.make_config(out, **settings), cache_fakes.FakeFrozen()
    made_from = cache_fakes.make_identity(**(identity or {"iou": 0.5}))
    shares = prepare(out, count, made_from, count_export(config, detector, train, val)) or []
    for share in shares:
        write_share(config, share, detector=detector, identity=made_from, train=train, val=val)
    return [share.path for share in shares]


def join(shards: Sequence[Path], out: Path, train: CocoData, val: CocoData) -> None:
    """As an export joins them."""
    of_train, of_val = ([image.id for image in data.images] for data in (train, val))
    join_shards(shards, out, train_images=of_train, val_images=of_val)


@pytest.mark.parametrize("settings", cache_fakes.SETTINGS)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_joined_shards_read_as_a_single_file(
    tmp_path: Path, train: CocoData, val: CocoData, count: int, settings: Mapping[str, Any]
) -> None:
    """Row for row, through HDF5 itself and through the reader; a shard without rows does not matter."""
    path = cache_fakes.export(tmp_path / "cache.h5", train, val, **settings)
    out = tmp_path / "joined.h5"
    join(write_shards(out, train, val, count, settings), out, train, val)
    cache_fakes.assert_same(out, path)


def test_joined_files_can_be_moved_together(
    tmp_path: Path, train: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards are found beside the joined file, wherever that is and whatever the working directory."""
    out = tmp_path / "runs" / "cache.h5"
    join(write_shards(out, train, val, 2), out, train, val)
    before = cache_fakes.contents(out)
    shutil.move(out.parent, tmp_path / "moved")
    monkeypatch.chdir(os.sep)
    assert cache_fakes.contents(tmp_path / "moved" / "cache.h5") == before
    monkeypatch.chdir(tmp_path / "moved")
    with RoICache(Path("cache.h5")) as cache:
        assert cache.read_features("train", [0]).any()


def test_a_missing_shard_is_an_error_and_not_zeros(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """HDF5 would show fill values in its place."""
    out = tmp_path / "cache.h5"
    shards = write_shards(out, train, val, 2)
    join(shards, out, train, val)
    shards[1].unlink()
    with pytest.raises(CacheError, match=r"shard-1\.h5 is missing") as caught:
        RoICache(out)
    assert "maskx export-embeddings" in str(caught.value)


def test_shards_of_different_exports_are_not_joined(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Nor read, if one was replaced later."""
    out = tmp_path / "cache.h5"
    first, second = write_shards(out, train, val, 2)
    other = write_shards(tmp_path / "other" / "cache.h5", train, val, 2, iou=0.7)
    with pytest.raises(CacheError, match=r"iou: 0.5 -> 0.7"):
        join([first, other[1]], out, train, val)
    assert not out.exists()
    join([first, second], out, train, val)
    shutil.copy(other[1], second)
    with pytest.raises(CacheError, match="does not belong"):
        RoICache(out)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rows_joined_in_another_order_are_read_too(tmp_path: Path, cache_path: Path, interleaved: bool) -> None:
    """Another writer may take parts of a file, or interleave them; then HDF5 finds the rows, only more slowly."""
    shutil.copy(cache_path, cache_path.with_name("source.h5"))
    with h5py.File(cache_path, "r+") as file:
        cache_fakes.without_checksums(file)
        everything = file["train/features"][...]
        source = h5py.VirtualSource("source.h5", "train/features", everything.shape, "<f2")
        layout = h5py.VirtualLayout(everything.shape, "<f2")
        half = (len(everything) + 1) // 2
        if interleaved:
            layout[0::2], layout[1::2] = source[:half], source[half:]
        else:
            layout[:half], layout[half:] = source[len(everything) - half :], source[: len(everything) - half]
        del file["train/features"]
        file["train"].create_virtual_dataset("features", layout)
        expected = file["train/features"][...]
    assert not np.array_equal(expected, everything)
    with RoICache(cache_path) as cache:
        np.testing.assert_array_equal(cache.read_features("train", range(len(expected))), expected)
