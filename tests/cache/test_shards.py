"""An export that goes on by another number of processes than it began with."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import cache_fakes
import pytest

from maskx_pipeline.cache.export import prepare, write_share
from maskx_pipeline.cache.job import ExportJob
from maskx_pipeline.cache.plan import count_export
from maskx_pipeline.cache.shards import shard_path, shards_of
from maskx_pipeline.cache.writer import RoICacheWriter, partial_path
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import CacheError

TRAIN, VAL = 9, 8
"""Images that are looked at."""


class KilledError(Exception):
    """In the place of a SIGKILL: nothing more is committed."""


@pytest.fixture
def train(tmp_path: Path) -> CocoData:
    return cache_fakes.make_train(tmp_path, TRAIN + 1)


@pytest.fixture
def val(tmp_path: Path) -> CocoData:
    return cache_fakes.make_val(tmp_path, VAL)


def ask() -> None:
    """As Ctrl-C and SIGTERM do: the image is finished and committed."""
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    raise KilledError


@contextlib.contextmanager
def looked_at(*, stop_at: int | None = None, end: Callable[[], None] = ask) -> Iterator[list[str]]:
    """The images that are looked at, train's and val's; at that of this number, from 0, the process ends."""
    seen: list[str] = []
    real = ExportJob._images

    def images(self: ExportJob, start: int) -> Iterator[Any]:
        of_train = len(self.train_images) - start
        for number, item in enumerate(real(self, start)):
            if number == stop_at:
                end()
            seen.append(f"{'train' if number < of_train else 'val'} {item[0].id}")
            yield item

    with mock.patch.object(ExportJob, "_images", images):
        yield seen


def begin(
    out: Path,
    train: CocoData,
    val: CocoData,
    stops: Sequence[int],
    end: Callable[[], None] = ask,
    **changes: Any,
) -> list[str]:
    """Some processes begin or go on, and each ends in one of its images; returns those that were looked at."""
    config, detector = cache_fakes.make_config(out, **changes), cache_fakes.FakeFrozen()
    identity = cache_fakes.make_identity(iou=config.proposal_iou)
    out.parent.mkdir(exist_ok=True)
    shares = prepare(out, len(stops), identity, count_export(config, detector, train, val)) or []
    every: list[str] = []
    for share, stop_at in zip(shares, stops, strict=False):
        with looked_at(stop_at=stop_at, end=end) as seen, contextlib.suppress(KeyboardInterrupt, KilledError):
            write_share(config, share, detector=detector, identity=identity, train=train, val=val)
        every += seen
    return every


@pytest.mark.parametrize("settings", cache_fakes.SETTINGS)
@pytest.mark.parametrize(
    ("stops", "then"),
    [
        ([3], 2),  # in train
        ([11], 3),  # in val
        ([2, 7], 1),  # the second in its val
        ([0, 9], 1),  # the second is finished
        ([1, 0, 1, 0, 1, 0, 1, 1], 3),
        ([2, 1, 4], 8),
        ([2, 4], 2),  # as many as before
    ],
)
def test_any_number_of_processes_goes_on_where_others_stopped(
    stops: list[int], then: int, settings: dict[str, Any], tmp_path: Path, train: CocoData, val: CocoData
) -> None:
    """With the rows of one process in their order, and no image is looked at twice."""
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val, **settings)
    out = tmp_path / "runs" / "cache.h5"
    before = begin(out, train, val, stops, flush_every=100, **settings)
    with looked_at() as after:
        cache_fakes.export_by(then, out, train, val, flush_every=100, **settings)
    assert len(before) > 0
    assert len({*before, *after}) == len(before) + len(after) == TRAIN + VAL
    cache_fakes.assert_same(out, whole)
    assert not list(out.parent.glob("*.partial*"))


def test_it_goes_on_after_kills_by_one_number_after_the_other(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Only what was not committed is done again: here, of each process, at most one image."""
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val)
    out = tmp_path / "runs" / "cache.h5"
    seen = []
    for stops in ([3], [3, 2], [2, 3, 2], [3], [1, 1, 1]):
        seen += begin(out, train, val, stops, kill, flush_every=2)
    with looked_at() as last:
        cache_fakes.export_by(2, out, train, val)
    assert len(last) < TRAIN + VAL
    assert len(seen) + len(last) <= TRAIN + VAL + 10
    assert cache_fakes.contents(out) == cache_fakes.contents(whole)


@pytest.mark.parametrize(("began", "then"), [(1, 2), (2, 1), (2, 3)])
@pytest.mark.parametrize("call", [3, 4, 7, 8])
def test_it_goes_on_after_a_kill_in_a_commit(
    call: int, began: int, then: int, tmp_path: Path, train: CocoData, val: CocoData
) -> None:
    """Before the rows are on the disk (odd calls), and between them and the counter that makes them count."""
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val)
    out = tmp_path / "runs" / "cache.h5"
    real, calls = RoICacheWriter._sync, 0

    def sync(self: RoICacheWriter) -> None:
        nonlocal calls
        calls += 1
        if calls % 9 == call:
            raise KilledError
        real(self)

    with mock.patch.object(RoICacheWriter, "_sync", sync):
        begin(out, train, val, [100] * began)
    assert not out.exists()
    assert cache_fakes.contents(cache_fakes.export_by(then, out, train, val)) == cache_fakes.contents(whole)


def test_as_many_processes_go_on_with_their_shards(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Nothing is closed, and no shard is added."""
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [2, 1])
    begin(out, train, val, [1, 2])
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "cache.shard-0.h5.partial", "cache.shard-1.h5.partial",
    ]  # fmt: skip


def test_processes_that_were_done_take_of_what_the_others_left(
    tmp_path: Path, train: CocoData, val: CocoData, caplog: pytest.LogCaptureFixture
) -> None:
    """One of two had finished its shard; the rest of the other's is shared by both, and that is said."""
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [100, 1])
    with caplog.at_level(logging.INFO, logger="maskx"):
        cache_fakes.export_by(2, out, train, val)
    assert [path.name for path in shards_of(out)] == [f"cache.shard-{number}.h5" for number in range(4)]
    assert "10 of 17 images were done before; 2 processes share the others" in caplog.text


def test_a_process_that_had_done_nothing_leaves_no_shard(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [0, 0], kill)
    assert len(shards_of(out)) == 2
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val)
    cache_fakes.export_by(1, out, train, val)
    assert sorted(path.name for path in out.parent.iterdir()) == ["cache.h5"]
    assert cache_fakes.contents(out) == cache_fakes.contents(whole)


def test_as_many_processes_as_shards_do_what_no_shard_has_too(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """One of three was killed before its shard was there, and two go on."""
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val)
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [1, 1, 1])
    partial_path(shard_path(out, 1)).unlink()
    assert cache_fakes.contents(cache_fakes.export_by(2, out, train, val)) == cache_fakes.contents(whole)


def test_a_lost_shard_is_written_again(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """The others say which images they have."""
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val)
    out = cache_fakes.export_by(3, tmp_path / "runs" / "cache.h5", train, val)
    out.unlink()
    shard_path(out, 1).unlink()
    with looked_at() as seen:
        cache_fakes.export_by(1, out, train, val)
    assert 0 < len(seen) < 7
    assert cache_fakes.contents(out) == cache_fakes.contents(whole)


def test_shards_with_the_same_images_are_an_error(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Such as a copy: its rows would be there twice."""
    out = cache_fakes.export_by(2, tmp_path / "runs" / "cache.h5", train, val)
    out.unlink()
    shutil.copy(shard_path(out, 0), shard_path(out, 5))
    with pytest.raises(CacheError, match=r"two shards of .* have the same images"):
        cache_fakes.export_by(2, out, train, val)


@pytest.mark.parametrize("began", [1, 2])
def test_what_was_begun_with_other_settings_is_left_as_it_is(
    began: int, tmp_path: Path, train: CocoData, val: CocoData
) -> None:
    """It is neither closed nor gone on with, nor begun beside; --overwrite begins anew."""
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [2] * began)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    with pytest.raises(CacheError, match=r"iou: 0.5 -> 0.7"):
        cache_fakes.export_by(3, out, train, val, proposal_iou=0.7)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir() if "lock" not in path.name} == before
    cache_fakes.export(out, train, val, proposal_iou=0.7, overwrite=True)
    assert [path.name for path in out.parent.iterdir()] == ["cache.h5"]


def test_a_shard_whose_share_is_damaged_is_not_gone_on_with(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """It would be taken for images that it does not have."""
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [2, 2])
    partial = partial_path(shard_path(out, 1))
    content = partial.read_bytes()
    assert content.count(b"[[4, 9], [13, 17]]") == 1
    partial.write_bytes(content.replace(b"[[4, 9], [13, 17]]", b"[[4, 9], [13, 16]]"))
    with pytest.raises(CacheError, match=r"shard-1\.h5\.partial is damaged"):
        cache_fakes.export_by(3, out, train, val)


def test_what_killed_processes_left_half_made_is_removed(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Also of shards that this export does not have."""
    out = tmp_path / "runs" / "cache.h5"
    begin(out, train, val, [2, 2])
    for name in (".cache.shard-7.h5.partial.0123abcd.tmp", ".cache.shard-0.h5.partial.redo.0123abcd.tmp"):
        (out.parent / name).touch()
    cache_fakes.export_by(1, out, train, val)
    assert not list(out.parent.glob(".*.tmp"))
