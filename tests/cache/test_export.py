"""The export as a whole, with a detector of a few lines."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cache_fakes
import numpy as np
import pytest
import torch
from faults_world import Zygote

from maskx_pipeline.cache import export as module
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.writer import RoICacheWriter
from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.masks import rasterize_roi_target
from maskx_pipeline.data.records import CocoData, ImageRecord
from maskx_pipeline.errors import CacheError, DataError, MachineError, WeightsError
from maskx_pipeline.provenance.files import partial_path
from maskx_pipeline.transfer.roi_batches import mask_rows


def replace_data(data: CocoData, **changes: Any) -> CocoData:
    fields = {
        "path": data.path, "image_dir": data.image_dir, "categories": data.categories, "images": data.images,
        "annotations": data.annotations(), "digest": data.digest,
    }  # fmt: skip
    return CocoData(**{**fields, **changes})


def test_train_holds_every_masked_object_and_its_proposals(cache_path: Path, train: CocoData) -> None:
    """Its own box, up to three proposals of IoU >= 0.5, the same again mirrored; labels are the object's."""
    masked = {a.id: a for a in train.annotations() if a.has_mask and not a.iscrowd}
    with RoICache(cache_path) as cache:
        rows = cache.train
    assert set(rows.annotation_ids.tolist()) == set(masked)
    assert (rows.ious >= 0.5).all()
    for flipped in (0, 1):
        for annotation_id, annotation in masked.items():
            mine = np.flatnonzero((rows.annotation_ids == annotation_id) & (rows.flipped == flipped))
            assert 1 <= len(mine) <= 4
            x1, y1, x2, y2 = annotation.box_xyxy
            box = (cache_fakes.WIDTH - x2, y1, cache_fakes.WIDTH - x1, y2) if flipped else annotation.box_xyxy
            np.testing.assert_allclose(rows.boxes[mine[0]], box)
            assert rows.ious[mine[0]] == 1
            assert set(rows.labels[mine].tolist()) == {annotation.label}
            assert set(rows.image_ids[mine].tolist()) == {annotation.image_id}
            np.testing.assert_allclose(rows.object_boxes[mine], np.tile(box, (len(mine), 1)))
            assert rows.has_mask[mine].all()


def read(data: CocoData, record: ImageRecord) -> torch.Tensor:
    return read_image(data.image_path(record.id), width=record.width, height=record.height).float() / 255


def test_mirrored_rows_come_from_the_mirrored_image(cache_path: Path, train: CocoData) -> None:
    """Their proposals are those that the detector makes there."""
    with RoICache(cache_path) as cache:
        rows = cache.train
    for flipped in (0, 1):
        for record in train.images[:-1]:
            image = read(train, record)
            detected = cache_fakes.FakeFrozen().extract(image.flip(-1) if flipped else image)
            proposals = {tuple(box) for box in detected.proposals_xyxy.tolist()}
            mine = (rows.image_ids == record.id) & (rows.flipped == flipped) & (rows.ious < 1)
            assert mine.any()
            assert {tuple(box) for box in rows.boxes[mine].tolist()} <= proposals


def test_targets_are_the_masks_in_the_frames_of_the_boxes(cache_path: Path, train: CocoData) -> None:
    """The same as rasterising them directly."""
    by_id = {annotation.id: annotation for annotation in train.annotations()}
    with RoICache(cache_path) as cache:
        rows, targets = cache.train, cache.read_targets(range(len(cache.train)))
    for row in np.flatnonzero(rows.flipped == 0):
        expected = rasterize_roi_target(
            by_id[int(rows.annotation_ids[row])].segmentation,
            rows.boxes[row],
            size=cache_fakes.MASK_SIZE,
            height=cache_fakes.HEIGHT,
            width=cache_fakes.WIDTH,
        )
        np.testing.assert_array_equal(targets[row], expected)
    own = rows.ious == 1  # a mirrored object has a mirrored target
    np.testing.assert_array_equal(targets[own & (rows.flipped == 1)][:, :, ::-1], targets[own & (rows.flipped == 0)])


def test_moved_boxes_are_stored_as_proposals_are_and_val_has_none(
    tmp_path: Path, cache_path: Path, train: CocoData, val: CocoData
) -> None:
    """Features, target and the object's own box belong to the moved box; all other rows are what they were."""
    path = cache_fakes.export(tmp_path / "moved.h5", train, val, box_jitter=0.2)
    by_id = {annotation.id: annotation for annotation in train.annotations()}
    with RoICache(path) as cache, RoICache(cache_path) as without:
        rows, before = cache.train, without.train
        objects, first, counts = np.unique(
            np.stack([rows.annotation_ids, rows.flipped]), axis=1, return_index=True, return_counts=True
        )
        assert objects.shape[1] == 16
        added = first + 1
        others = np.setdiff1d(np.arange(len(rows)), added)
        assert counts.max() <= 5
        np.testing.assert_array_equal(rows.boxes[others], before.boxes)
        np.testing.assert_array_equal(rows.object_boxes[added], rows.boxes[first])
        assert (rows.boxes[added] != rows.object_boxes[added]).any(axis=1).all()  # so they are no ground-truth RoIs
        assert ((rows.ious[added] < 1) & (rows.ious[added] > 0.3)).all()
        np.testing.assert_array_equal(mask_rows(cache, {1, 2}, "ground-truth"), np.sort(first))
        assert set(added) <= set(mask_rows(cache, {1, 2}, "proposals").tolist())
        for row in added[rows.flipped[added] == 0]:
            mask = by_id[int(rows.annotation_ids[row])].segmentation
            expected = rasterize_roi_target(
                mask, rows.boxes[row], size=cache_fakes.MASK_SIZE, height=cache_fakes.HEIGHT, width=cache_fakes.WIDTH
            )
            np.testing.assert_array_equal(cache.read_targets([row])[0], expected)
        row = added[0]
        (record,) = (record for record in train.images if record.id == rows.image_ids[row])
        image = read(train, record)
        pooled = cache_fakes.FakeFrozen().extract(image.flip(-1) if rows.flipped[row] else image)
        features = pooled.pool(torch.from_numpy(rows.boxes[row : row + 1]), cache_fakes.ROI_SIZE).half().numpy()
        np.testing.assert_array_equal(cache.read_features("train", [row]), features)
        for group in ("detections", "ground_truth"):
            assert vars(getattr(cache, group)).keys() == vars(getattr(without, group)).keys()
            for name, column in vars(getattr(without, group)).items():
                np.testing.assert_array_equal(getattr(getattr(cache, group), name), column)


def test_val_holds_detections_and_all_objects_but_crowds(cache_path: Path, val: CocoData) -> None:
    """Objects without a mask have zeros as target and say so."""
    with RoICache(cache_path) as cache:
        truth, found = cache.ground_truth, cache.detections
        targets = cache.read_targets(range(len(truth)), "ground_truth")
        features = cache.read_features("detections", range(len(found)))
    assert truth.annotation_ids.tolist() == [a.id for a in val.annotations() if not a.iscrowd]
    assert truth.has_mask.tolist() == [1, 0, 1, 0]
    assert targets[truth.has_mask == 1].any(axis=(1, 2)).all()
    assert not targets[truth.has_mask == 0].any()
    assert len(found) > 0
    frozen = cache_fakes.FakeFrozen()
    for record in val.images:
        detected = frozen.extract(read(val, record))
        mine = found.image_ids == record.id
        np.testing.assert_array_equal(found.boxes[mine], detected.detections.boxes_xyxy.numpy())
        np.testing.assert_array_equal(found.scores[mine], detected.detections.scores.numpy())
        np.testing.assert_array_equal(found.labels[mine], detected.detections.labels.numpy())
        pooled = detected.pool(detected.detections.boxes_xyxy, cache_fakes.ROI_SIZE).half().numpy()
        np.testing.assert_array_equal(features[mine], pooled)


def test_corrupting_one_mask_changes_only_that_objects_targets(
    tmp_path: Path, cache_path: Path, train: CocoData
) -> None:
    """Boxes, features and all other targets stay bit-identical."""
    victim = train.annotations()[0]
    corrupted = [
        dataclasses.replace(a, segmentation=[[0.0, 0.0, 9.0, 0.0, 9.0, 30.0, 0.0, 30.0]]) if a.id == victim.id else a
        for a in train.annotations()
    ]
    other = cache_fakes.export(
        tmp_path / "other.h5", replace_data(train, annotations=tuple(corrupted)), cache_fakes.make_val(tmp_path)
    )
    before, after = cache_fakes.contents(cache_path), cache_fakes.contents(other)
    assert {name for name in before if before[name] != after[name]} == {"train/targets", "train/sums"}
    with RoICache(cache_path) as first, RoICache(other) as second:
        rows = range(len(first.train))
        differs = (first.read_targets(rows) != second.read_targets(rows)).any(axis=(1, 2))
        assert set(first.train.annotation_ids[differs].tolist()) == {victim.id}


def test_eight_bits_change_the_features_of_train_alone(cache_path: Path, int8_path: Path) -> None:
    """All else is equal, byte for byte: above all val, so that AP from the cache stays AP from images."""
    half, eight = cache_fakes.contents(cache_path), cache_fakes.contents(int8_path)
    assert {name for name in eight if eight[name] != half.get(name)} == {
        "train/features",
        "train/feature_scales",
        "train/sums",
    }
    assert set(eight) - set(half) == {"train/feature_scales"}
    with RoICache(cache_path) as cache, RoICache(int8_path) as other:
        rows = range(len(cache.train))
        exact, (scales, _) = cache.read_features("train", rows).astype("f4"), other.read_stored("train", rows)
        error = np.abs(other.read_features("train", rows).astype("f4") - exact)
        assert (error <= 0.5 * scales[:, :, None, None] + 2.0**-11 * np.abs(exact)).all()
        assert error.any()


def test_a_cache_of_another_type_is_of_other_settings(tmp_path: Path) -> None:
    """The type is part of the identity."""
    half, eight = (cache_fakes.make_config(tmp_path, feature_dtype=name).identity() for name in ("float16", "int8"))
    found = cache_fakes.make_identity(**half).differences(cache_fakes.make_identity(**eight))
    assert found == ["feature-dtype: float16 -> int8"]


@pytest.mark.parametrize("settings", [{"workers": 0}, {"workers": 3}, {"flush_every": 1}, {"flush_every": 100}])
def test_workers_and_flushes_never_change_the_result(
    tmp_path: Path, cache_path: Path, train: CocoData, val: CocoData, settings: dict[str, int]
) -> None:
    """They are no part of the identity."""
    other = cache_fakes.export(tmp_path / "other.h5", train, val, **settings)
    assert cache_fakes.contents(other) == cache_fakes.contents(cache_path)


@pytest.mark.parametrize(
    ("stride", "settings", "processes"),
    [
        (8, cache_fakes.SETTINGS[0], [1]),
        (8, cache_fakes.SETTINGS[1], [1]),
        (32, cache_fakes.SETTINGS[1], [2, 1, 3]),
        *(
            pytest.param(1, settings, processes, marks=pytest.mark.slow)
            for settings in cache_fakes.SETTINGS
            for processes in ([1], [2, 1, 3])
        ),
        pytest.param(1, cache_fakes.SETTINGS[0], [1, 2], marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_never_having_stopped(
    tmp_path: Path, stride: int, settings: dict[str, Any], processes: list[int], zygote: Zygote
) -> None:
    """SIGKILL between any two calls that change a file, again and again, and at random times.

    Also where each export is by another number of processes than the one before.
    """
    here = Path(__file__).parent
    environment = {"PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    words = (here / "kill_export.py", tmp_path, stride, json.dumps(settings), json.dumps(processes))
    done = zygote.python(*words, environment=environment).wait(900)
    assert done.code == 0, done.said
    print(done.said)  # noqa: T201


def test_an_interrupted_export_keeps_every_finished_image(
    tmp_path: Path, cache_path: Path, train: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C waits for the image, commits it and says so; the next call continues there."""
    extracted = 0
    real = cache_fakes.FakeFrozen.extract

    def extract(self: Any, image: torch.Tensor) -> Any:
        nonlocal extracted
        extracted += 1
        if extracted == 5:
            os.kill(os.getpid(), 2)
        return real(self, image)

    monkeypatch.setattr(cache_fakes.FakeFrozen, "extract", extract)
    out = tmp_path / "other.h5"
    with pytest.raises(KeyboardInterrupt):
        cache_fakes.export(out, train, val, flush_every=100)
    assert extracted == 6  # both sides of the third image
    cache_fakes.export(out, train, val, flush_every=100)
    assert extracted == 2 * 4 + 3
    assert cache_fakes.contents(out) == cache_fakes.contents(cache_path)


def test_a_finished_cache_is_returned_at_once(
    cache_path: Path, train: CocoData, val: CocoData, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an image is looked at, and the log says why."""
    monkeypatch.delattr(cache_fakes.FakeFrozen, "extract")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with caplog.at_level(logging.INFO, logger="maskx"):
        assert cache_fakes.export(cache_path, train, val) == cache_path
    assert "finished and unchanged" in caplog.text


def test_a_cache_of_other_settings_stops_the_export(cache_path: Path, train: CocoData, val: CocoData) -> None:
    """The setting is named; --overwrite replaces the cache."""
    before = cache_path.read_bytes()
    with pytest.raises(CacheError, match=r"iou: 0.5 -> 0.7") as caught:
        cache_fakes.export(cache_path, train, val, proposal_iou=0.7)
    assert "--overwrite" in str(caught.value)
    assert cache_path.read_bytes() == before
    cache_fakes.export(cache_path, train, val, proposal_iou=0.7, overwrite=True)
    with RoICache(cache_path) as cache:
        assert cache.train.ious.min() >= 0.7


def test_overwrite_starts_an_unfinished_export_again(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Even a damaged one; but not what another program called so."""
    out = tmp_path / "cache.h5"
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val).read_bytes()
    partial_path(out).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CacheError, match=r"truncated(?s:.)*--overwrite"):
        cache_fakes.export(out, train, val)
    cache_fakes.export(out, train, val, overwrite=True)
    assert not partial_path(out).exists()
    partial_path(out).write_bytes(b"a download")
    with pytest.raises(CacheError, match=r"partial exists and is no RoI cache"):
        cache_fakes.export(out, train, val, overwrite=True)
    assert partial_path(out).read_bytes() == b"a download"
    assert out.exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_process_writes_is_left_alone(
    tmp_path: Path, train: CocoData, val: CocoData, overwrite: bool
) -> None:
    """Neither continued nor deleted; HDF5 locks the file that it writes."""
    out = tmp_path / "cache.h5"
    rows = cache_fakes.export(tmp_path / "whole.h5", train, val).read_bytes()
    partial_path(out).write_bytes(rows)
    with partial_path(out).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CacheError, match=r"cache.h5.partial is being written by another process"):
            cache_fakes.export(out, train, val, overwrite=overwrite)
        assert partial_path(out).read_bytes() == rows
    assert cache_fakes.export(out, train, val, overwrite=True).exists()


def test_overwrite_never_deletes_what_is_no_cache(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """A slip in --out costs nothing."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a photo")
    for overwrite in (False, True):
        with pytest.raises(CacheError, match=r"no RoI cache|not an HDF5 file"):
            cache_fakes.export(photo, train, val, overwrite=overwrite)
    assert photo.read_bytes() == b"a photo"


def test_too_little_disk_is_an_error_before_anything_is_written(
    tmp_path: Path, train: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the folder is made."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(MachineError, match=r"1\.0 kB free"):
        cache_fakes.export(tmp_path / "runs" / "cache.h5", train, val)
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_says_that_the_export_can_be_continued(
    tmp_path: Path, cache_path: Path, train: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs may fill the disk meanwhile."""
    real = module.RoICacheWriter.append

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.RoICacheWriter, "append", full)
    out = tmp_path / "other.h5"
    with pytest.raises(MachineError, match="is full") as caught:
        cache_fakes.export(out, train, val)
    assert "again" in str(caught.value)
    monkeypatch.setattr(module.RoICacheWriter, "append", real)
    cache_fakes.export(out, train, val)
    assert cache_fakes.contents(out) == cache_fakes.contents(cache_path)


@pytest.mark.parametrize("unmasked_objects", ["none", "all"])
def test_data_without_any_mask_are_an_error(tmp_path: Path, val: CocoData, unmasked_objects: str) -> None:
    """There would be nothing to learn masks from, even where boxes are stored."""
    train = cache_fakes.make_data(tmp_path, [cache_fakes.annotation(1, 11, (1, 1, 9, 9), masked=False)], count=1)
    with pytest.raises(DataError, match="no object has a mask"):
        cache_fakes.export(tmp_path / "cache.h5", train, val, unmasked_objects=unmasked_objects)
    assert not (tmp_path / "cache.h5.partial").exists()


def test_a_broken_image_is_named_and_the_export_can_go_on(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """After it was replaced."""
    path = train.image_path(12)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"1\.png"):
        cache_fakes.export(tmp_path / "cache.h5", train, val)
    path.write_bytes(whole)
    assert cache_fakes.export(tmp_path / "cache.h5", train, val).exists()


def test_features_that_are_not_finite_are_refused(
    tmp_path: Path, train: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A diverged detector is named here, not by a loss that is NaN much later."""
    real = cache_fakes.FakeFrozen.extract

    def extract(self: Any, image: torch.Tensor) -> Any:
        detected = real(self, image)
        return SimpleNamespace(
            detections=detected.detections,
            proposals_xyxy=detected.proposals_xyxy,
            pool=lambda boxes, size: detected.pool(boxes, size) * 1e9,
        )

    monkeypatch.setattr(cache_fakes.FakeFrozen, "extract", extract)
    with pytest.raises(WeightsError, match="image 11 are not finite"):
        cache_fakes.export(tmp_path / "cache.h5", train, val)


def test_val_without_images_leaves_empty_groups(tmp_path: Path, train: CocoData) -> None:
    """Nothing to evaluate on is no error here."""
    val = cache_fakes.make_data(tmp_path, [], count=0, name="val")
    with RoICache(cache_fakes.export(tmp_path / "cache.h5", train, val)) as cache:
        assert (len(cache.detections), len(cache.ground_truth)) == (0, 0)
        assert cache.read_features("detections", []).shape == (0, 3, 4, 4)
        assert len(cache.train) > 0


def test_a_row_for_which_there_is_no_room_is_an_error_before_it_is_written(
    tmp_path: Path, train: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 does not survive a write that fails; what was committed is kept, and the export goes on from there."""
    calls = 0

    def no_room(descriptor: int, start: int, length: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "cache.h5"
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_room)
        with pytest.raises(MachineError, match=r"cache\.h5\.partial cannot be written: the disk is full, .* needed"):
            cache_fakes.export(path, train, val, flush_every=1)
    with RoICacheWriter.resume(
        path, identity=cache_fakes.make_identity(iou=cache_fakes.make_config(path).proposal_iou)
    ) as left:
        assert left.images_done > 0
    whole = cache_fakes.export(tmp_path / "whole.h5", train, val, flush_every=1)
    assert cache_fakes.contents(cache_fakes.export(path, train, val, flush_every=1)) == cache_fakes.contents(whole)
