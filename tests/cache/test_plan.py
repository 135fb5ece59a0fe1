"""What an export will store, and whether there is room."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cache_fakes
import pytest
import torch

from maskx_pipeline.cache.plan import ImageSeconds, check_disk, count_export, measure_export
from maskx_pipeline.cache.schema import Dimensions
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import DataError, MachineError
from maskx_pipeline.text import format_bytes


def test_the_plan_is_an_upper_bound_that_counts_masked_objects(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """4 images x 2 masked objects x (1 + 3 proposals) x 2 for the mirrored image; crowds count nowhere."""
    plan = count_export(cache_fakes.make_config(tmp_path), cache_fakes.FakeFrozen(), train, val)
    assert (plan.train_images, plan.val_images) == (4, 3)
    assert (plan.train_rois, plan.detection_rois, plan.ground_truth_rois) == (64, 15, 4)
    assert (plan.images, plan.rois) == (7, 83)
    sizes = Dimensions(3, 4, 6)
    groups = {"train": 64, "detections": 15, "ground_truth": 4}
    rows = sum(count * sizes.row_bytes(name) for name, count in groups.items())  # type: ignore[arg-type]
    assert rows < plan.bytes <= rows + 65536 + 128 * 83  # and HDF5's index
    assert plan.seconds is None
    assert plan.to_json()["rois"] == 83


def test_the_plan_of_eight_bits_counts_their_scales(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """A byte a number and a float32 a channel, in train alone; and a second index for the chunks of the scales."""
    plans = [
        count_export(cache_fakes.make_config(tmp_path, feature_dtype=name), cache_fakes.FakeFrozen(), train, val)
        for name in ("float16", "int8")
    ]
    assert plans[0].bytes - plans[1].bytes == 64 * (3 * 4 * 4 - 3 * 4 - 128)


def test_the_plan_counts_a_moved_box_for_each_object(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """4 images x 2 masked objects x (1 + 1 moved + 3 proposals) x 2 for the mirrored image."""
    config = cache_fakes.make_config(tmp_path, box_jitter=0.1)
    assert count_export(config, cache_fakes.FakeFrozen(), train, val).train_rois == 80


def test_the_expected_time_counts_mirrored_images(tmp_path: Path, train: CocoData, val: CocoData) -> None:
    """4 training images twice at 10 s, and 3 of val at 20 s."""
    config = cache_fakes.make_config(tmp_path)
    plan = count_export(config, cache_fakes.FakeFrozen(), train, val, ImageSeconds(10, 20))
    assert plan.seconds == 140
    assert "about 2.3 min" in plan.to_text()


def test_the_time_of_an_image_is_measured_as_it_is_exported(tmp_path: Path, train: CocoData) -> None:
    """On images of the data, of which those of train are not asked for detections; without any it is a known error."""
    config = cache_fakes.make_config(tmp_path)
    measured = measure_export(config, _SlowBoxHead(), train)
    assert 0 < measured.train < measured.val < 10
    empty = cache_fakes.make_data(tmp_path, [], count=0, name="none")
    with pytest.raises(DataError, match="no image"):
        measure_export(config, _SlowBoxHead(), empty)


def test_too_little_disk_names_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a folder that does not exist yet."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_500_000_000))
    check_disk(tmp_path / "not" / "yet", 1_500_000_000)
    with pytest.raises(MachineError, match=r"need 12\.3 GB more, and .* has 1\.5 GB free") as caught:
        check_disk(tmp_path / "not" / "yet", 12_345_678_900)
    assert "--rois-per-object" in str(caught.value)


def test_bytes_are_written_for_people() -> None:
    """With decimal prefixes."""
    assert [format_bytes(n) for n in (999, 1000, 2_500_000, 10**9)] == ["999 bytes", "1.0 kB", "2.5 MB", "1.0 GB"]


class _SlowBoxHead(cache_fakes.FakeFrozen):
    """Detections take a while."""

    def extract(self, image: torch.Tensor) -> Any:
        """See FakeFrozen."""
        fast = super().extract(image)
        return _SlowDetections(proposals_xyxy=fast.proposals_xyxy, pool=fast.pool, found=fast.detections)


class _SlowDetections(SimpleNamespace):
    @property
    def detections(self) -> Any:
        time.sleep(0.1)
        return self.found
