"""A cache of val alone: as that of a whole export, and refused where train is asked of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cache_fakes
import numpy as np
import pytest

from maskx_pipeline.cache import export as module
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import CacheError
from maskx_pipeline.transfer.roi_batches import mask_rows


def _export(out: Path, train: CocoData, val: CocoData, **changes):
    config = cache_fakes.make_config(out, **changes)
    detector = cache_fakes.FakeFrozen()
    identity = module.export_identity(config, detector, train, val)
    return module.write_cache(config, detector=detector, identity=identity, train=train, val=val)


def test_val_is_that_of_a_whole_export(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """Detections and objects with their features, to the last byte; train has its columns and no row."""
    whole = cache_fakes.contents(_export(tmp_path / "whole.h5", train, val))
    alone = cache_fakes.contents(_export(tmp_path / "alone.h5", train, val, only="val"))
    of_val = {name for name in whole if name.startswith(("val/", "categories/"))}
    assert of_val == {name for name in alone if name.startswith(("val/", "categories/"))}
    assert all(whole[name] == alone[name] for name in of_val)
    assert alone["train/features"][0][0] == 0
    assert whole["train/features"][0][0] > 0


def test_its_plan_counts_no_image_of_train(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """And measures the time of an image of val."""
    config = cache_fakes.make_config(tmp_path / "alone.h5", only="val")
    plan = module.plan_export(config, detector=cache_fakes.FakeFrozen(), train=train, val=val)
    assert (plan.train_images, plan.train_rois, plan.val_images) == (0, 0, len(val.images))
    assert plan.seconds is not None


def test_what_is_said_of_train_does_not_matter_to_it(tmp_path: Path, train: CocoData, val: CocoData, caplog) -> None:
    """It is finished whatever --rois-per-object says; with another --roi-size it is another."""
    path = _export(tmp_path / "alone.h5", train, val, only="val")
    before = path.stat().st_mtime_ns
    with caplog.at_level("INFO", "maskx"):
        _export(path, train, val, only="val", rois_per_object=1, flip=False)
    assert "finished and unchanged" in caplog.text
    assert path.stat().st_mtime_ns == before
    with pytest.raises(CacheError, match="roi-size"):
        _export(path, train, val, only="val", roi_size=cache_fakes.ROI_SIZE + 2)


def test_a_whole_cache_holds_val_too(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """So nothing is written where one is there; but the other way round it is not enough, nor for another val."""
    path = _export(tmp_path / "cache.h5", train, val)
    before = path.stat().st_mtime_ns
    _export(path, train, val, only="val")
    assert path.stat().st_mtime_ns == before
    with RoICache(path) as cache:
        wanted = module.export_identity(
            cache_fakes.make_config(path, only="val", roi_size=8), cache_fakes.FakeFrozen(), train, val
        )
        assert len(cache.identity.lacks(wanted)) == 1
        assert len(cache.identity.lacks(dataclasses.replace(wanted, val_digest="another"))) == 2
    alone = _export(tmp_path / "alone.h5", train, val, only="val")
    with pytest.raises(CacheError, match="only: val -> null") as caught:
        _export(alone, train, val)
    assert str(caught.value).count("->") == 2, "what val has nothing to do with is not named; the other is the hint"
    assert "--overwrite" in str(caught.value.hint)


def test_nothing_is_fitted_to_it(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """And the error says why, not that there are no masks."""
    with RoICache(_export(tmp_path / "alone.h5", train, val, only="val")) as cache:
        assert len(cache.detections.boxes) > 0
        assert np.isfinite(cache.read_features("detections", np.arange(1))).all()
        with pytest.raises(CacheError, match="--only val") as caught:
            mask_rows(cache, {1})
    assert "without --only" in str(caught.value.hint)
