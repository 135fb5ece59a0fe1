"""RoIs of training objects that have no mask, for the box losses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cache_fakes
import numpy as np
import pytest
import torch
from cache_fakes import annotation
from numpy.typing import NDArray

from maskx_pipeline.cache.plan import count_export
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.rois import choose_objects
from maskx_pipeline.config import ExportConfig
from maskx_pipeline.data.records import Annotation, CocoData

BOX = (2.0, 3.0, 20.5, 25.0)


@pytest.fixture
def mixed(tmp_path: Path) -> CocoData:
    """Categories with masks, without, and with some; one image has no mask at all, one nothing but a crowd."""
    objects = [
        annotation(1, 11, BOX, label=1),
        annotation(2, 11, (15.0, 5.0, 38.0, 30.0), label=2, masked=False),
        annotation(3, 11, (0.0, 0.0, 40.0, 32.0), label=3, masked=False),  # cut by the image's edge
        annotation(4, 12, BOX, label=2, masked=False),
        annotation(5, 12, (25.0, 1.0, 33.0, 9.0), label=3, masked=False),
        annotation(6, 13, BOX, label=3),
        annotation(7, 13, (15.0, 5.0, 38.0, 30.0), label=2, masked=False),
        annotation(8, 14, (1.0, 1.0, 39.0, 31.0), label=2, masked=False, crowd=True),
    ]
    return cache_fakes.make_data(tmp_path, objects, count=4, name="mixed")


def choose(data: CocoData, **settings: Any) -> list[int]:
    """The ids of the objects that are stored."""
    chosen = choose_objects(cache_fakes.make_config(Path("cache.h5"), **settings), data)
    return data.annotations().ids[chosen].tolist()


def many(count: int, *, labels: tuple[int, ...] = (1, 2), folder: Path) -> CocoData:
    """``count`` objects without a mask of each of the labels, one after the other."""
    objects = [
        annotation(10_000 * label + n, 11, BOX, label=label, masked=False) for n in range(count) for label in labels
    ]
    return cache_fakes.make_data(folder, objects, count=1, name="many")


def test_unmasked_objects_are_stored_like_masked_ones(tmp_path: Path, mixed: CocoData, val: CocoData) -> None:
    """Own box, then proposals, and mirrored; the target is zeros, has_mask says so, and a crowd is left out."""
    with RoICache(cache_fakes.export(tmp_path / "cache.h5", mixed, val, unmasked_objects="all")) as cache:
        rows, targets = cache.train, cache.read_targets(range(len(cache.train)))
    assert set(rows.annotation_ids.tolist()) == {1, 2, 3, 4, 5, 6, 7}
    masked = np.isin(rows.annotation_ids, [1, 6])
    np.testing.assert_array_equal(rows.has_mask, masked)
    assert not targets[~masked].any()
    assert targets[masked].any(axis=(1, 2)).all()
    assert (rows.ious < 1).any()
    assert ((rows.ious < 1) & ~masked).any()
    for flipped in (0, 1):
        for one in mixed.annotations():
            mine = np.flatnonzero((rows.annotation_ids == one.id) & (rows.flipped == flipped))
            if one.iscrowd:
                continue
            x1, y1, x2, y2 = one.box_xyxy
            box = (cache_fakes.WIDTH - x2, y1, cache_fakes.WIDTH - x1, y2) if flipped else one.box_xyxy
            assert 1 <= len(mine) <= 4
            np.testing.assert_allclose(rows.boxes[mine[0]], box)
            np.testing.assert_allclose(rows.object_boxes[mine], np.tile(box, (len(mine), 1)))
            assert set(rows.labels[mine].tolist()) == {one.label}
            assert (rows.ious[mine] >= 0.5).all()


def test_without_them_the_rows_are_those_of_the_masked_objects(tmp_path: Path, mixed: CocoData, val: CocoData) -> None:
    """And with them these rows stay as they are."""
    paths = [cache_fakes.export(tmp_path / f"{n}.h5", mixed, val, unmasked_objects=n) for n in ("none", "0", "all")]
    caches = [RoICache(path) for path in paths]
    assert cache_fakes.contents(paths[0]) == cache_fakes.contents(paths[1])
    assert caches[0].train.has_mask.all()
    masked = np.flatnonzero(caches[2].train.has_mask)
    for name in (field.name for field in dataclasses.fields(caches[0].train)):
        np.testing.assert_array_equal(getattr(caches[0].train, name), getattr(caches[2].train, name)[masked])
    every = range(len(masked))
    np.testing.assert_array_equal(caches[0].read_features("train", every), caches[2].read_features("train", masked))
    np.testing.assert_array_equal(caches[0].read_targets(every), caches[2].read_targets(masked))


def test_at_most_so_many_of_each_category_are_drawn(tmp_path: Path, mixed: CocoData) -> None:
    """Masked objects are always there; more than there are is all, and the default is a thousand."""
    assert choose(mixed, unmasked_objects="none") == [1, 6]
    assert choose(mixed, unmasked_objects="all") == choose(mixed, unmasked_objects="3") == [1, 2, 3, 4, 5, 6, 7]
    found = choose(mixed, unmasked_objects="1")
    assert len(found) == 4
    assert {1, 6} < set(found)
    data = many(1500, folder=tmp_path)
    assert np.bincount([i >= 20_000 for i in choose(data, unmasked_objects="70")]).tolist() == [70, 70]
    usual = ExportConfig().unmasked_objects
    assert np.bincount([i >= 20_000 for i in choose(data, unmasked_objects=usual)]).tolist() == [1000, 1000]


def test_the_draw_follows_from_the_seed_and_the_categorys_ids(tmp_path: Path) -> None:
    """The order of the file, other categories and masks do not matter; fewer are a part of more."""
    data = many(50, folder=tmp_path)
    ten = choose(data, unmasked_objects="10")
    assert ten == choose(data, unmasked_objects="10")
    assert set(ten) < set(choose(data, unmasked_objects="20"))
    assert set(ten) != set(choose(data, unmasked_objects="10", seed=1))
    objects: list[Annotation] = list(data.annotations())
    backwards = cache_fakes.make_data(tmp_path, reversed(objects), count=1, name="backwards")
    assert sorted(choose(backwards, unmasked_objects="10")) == sorted(ten)
    alone = many(50, labels=(2,), folder=tmp_path)
    assert choose(alone, unmasked_objects="10") == [i for i in ten if i >= 20_000]


def test_only_images_with_an_object_that_is_stored_are_looked_at(
    tmp_path: Path, mixed: CocoData, val: CocoData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of the crowd; that without masks only if its objects are wanted."""
    real, looked = cache_fakes.FakeFrozen.extract, []

    def extract(self: Any, image: torch.Tensor) -> Any:
        looked.append(image)
        return real(self, image)

    monkeypatch.setattr(cache_fakes.FakeFrozen, "extract", extract)
    for wanted, images in (("none", 2), ("all", 3)):
        looked.clear()
        cache_fakes.export(tmp_path / f"{wanted}.h5", mixed, val, unmasked_objects=wanted, flip=False)
        assert len(looked) == images + len(val.images)


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("wanted", ["none", "1", "all"])
def test_the_plan_counts_what_is_written(
    tmp_path: Path, mixed: CocoData, val: CocoData, wanted: str, colours: bool
) -> None:
    """Exactly, where no proposals are stored; masked and unmasked objects apart."""
    settings = {"unmasked_objects": wanted, "rois_per_object": 0, "colours": colours}
    plan = count_export(cache_fakes.make_config(tmp_path, **settings), cache_fakes.FakeFrozen(), mixed, val)
    path = cache_fakes.export(tmp_path / "cache.h5", mixed, val, **settings)
    with RoICache(path) as cache:
        has_mask: NDArray[np.uint8] = cache.train.has_mask
        assert (plan.masked_rois, plan.unmasked_rois) == ((has_mask == 1).sum(), (has_mask == 0).sum())
        assert plan.train_rois == plan.to_json()["train_rois"] == len(has_mask)
        assert plan.train_images == len(set(cache.train.image_ids.tolist()))
        row_bytes = cache.dimensions.row_bytes("train")
    assert f"{plan.masked_rois} of masked and {plan.unmasked_rois} of unmasked objects" in plan.to_text()
    none = count_export(
        cache_fakes.make_config(tmp_path, **{**settings, "unmasked_objects": "none"}),
        cache_fakes.FakeFrozen(),
        mixed,
        val,
    )
    index = 128 * plan.unmasked_rois * (2 if colours else 1)
    assert plan.bytes - none.bytes == plan.unmasked_rois * row_bytes + index


def test_corrupting_masks_never_changes_the_rows_of_unmasked_objects(
    tmp_path: Path, mixed: CocoData, val: CocoData
) -> None:
    """Nor anything else but the targets of the masked ones."""
    broken = [
        dataclasses.replace(one, segmentation=[[0.0, 0.0, 9.0, 0.0, 9.0, 30.0, 0.0, 30.0]]) if one.has_mask else one
        for one in mixed.annotations()
    ]
    other = cache_fakes.make_data(tmp_path, broken, count=4, name="mixed")
    paths = [
        cache_fakes.export(tmp_path / f"{number}.h5", data, val, unmasked_objects="2", colours=True)
        for number, data in enumerate((mixed, other))
    ]
    before, after = map(cache_fakes.contents, paths)
    assert {name for name in before if before[name] != after[name]} == {"train/targets", "train/sums"}
    with RoICache(paths[0]) as first, RoICache(paths[1]) as second:
        unmasked = np.flatnonzero(first.train.has_mask == 0)
        assert len(unmasked) > 0
        np.testing.assert_array_equal(first.read_targets(unmasked), second.read_targets(unmasked))


def test_a_mask_by_a_teacher_is_stored_as_one_and_in_val_is_none(
    tmp_path: Path, mixed: CocoData, val: CocoData
) -> None:
    """`has_mask` is 2, whatever was asked of objects without a mask; the target is drawn as any other's."""
    objects = [dataclasses.replace(one, taught=True) if one.id == 6 else one for one in mixed.annotations()]
    taught = CocoData(
        path=mixed.path, image_dir=mixed.image_dir, categories=mixed.categories, images=mixed.images,
        annotations=objects, digest=mixed.digest,
    )  # fmt: skip
    with RoICache(cache_fakes.export(tmp_path / "cache.h5", taught, val)) as cache:
        rows = cache.train
        assert {n: set(rows.has_mask[rows.annotation_ids == n].tolist()) for n in (1, 6)} == {1: {1}, 6: {2}}
        targets = cache.read_targets(range(len(rows)))
        assert set(cache.ground_truth.has_mask.tolist()) <= {0, 1}
    with RoICache(cache_fakes.export(tmp_path / "own.h5", mixed, val)) as own:
        np.testing.assert_array_equal(own.read_targets(range(len(own.train))), targets)
