"""The format's own rules: packing and identity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cache_fakes import make_identity

from maskx_pipeline.cache.schema import CacheIdentity, Dimensions, pack_targets, unpack_targets


@pytest.mark.parametrize("size", [1, 3, 8, 28])
def test_packed_targets_come_back_as_they_were(size: int) -> None:
    """Eight pixels to a byte, whatever M * M is modulo 8."""
    targets = np.random.default_rng(size).integers(0, 2, (5, size, size), dtype=np.uint8)
    packed = pack_targets(targets)
    assert packed.shape == (5, math.ceil(size * size / 8))
    np.testing.assert_array_equal(unpack_targets(packed, size), targets)


def test_no_targets_pack_to_no_rows() -> None:
    """Zero rows keep their width."""
    packed = pack_targets(np.zeros((0, 28, 28), dtype=np.uint8))
    assert packed.shape == (0, 98)
    assert unpack_targets(packed, 28).shape == (0, 28, 28)


def test_the_bytes_of_a_row_are_those_of_its_columns() -> None:
    """What the plan promises is what HDF5 stores: features 2 bytes a number, targets a bit a pixel."""
    dimensions = Dimensions(channels=256, roi_size=14, mask_size=28)
    assert dimensions.row_bytes("train") == 256 * 14 * 14 * 2 + 98 + 2 * 4 * 4 + 8 + 8 + 8 + 4 + 1 + 1


def test_colours_are_a_large_column_of_train_and_no_features() -> None:
    """Stage 2 keeps the features alone in memory."""
    plain, coloured = (
        Dimensions(channels=256, roi_size=14, mask_size=28, colours=colours) for colours in (False, True)
    )
    assert coloured.row_bytes("train") == plain.row_bytes("train") + 28 * 28 * 3
    assert coloured.columns("detections") == plain.columns("detections")
    assert coloured.feature_columns("train") == plain.feature_columns("train") == plain.large_columns("train")
    assert list(coloured.large_columns("train")) == ["colours", "features"]


def test_eight_bits_are_half_of_the_bytes_and_a_scale_for_each_channel() -> None:
    """In train alone."""
    eight = Dimensions(channels=256, roi_size=14, mask_size=28, feature_dtype="int8")
    assert eight.feature_row_bytes("train") == 256 * 14 * 14 + 256 * 4
    assert eight.feature_row_bytes("detections") == eight.feature_row_bytes("ground_truth") == 256 * 14 * 14 * 2


def test_differences_name_each_key_with_both_values() -> None:
    """An error can say what differs."""
    mine, theirs = make_identity(iou=0.5, flip=True), make_identity(iou=0.7, roi_size=14)
    assert mine.differences(theirs) == ["flip: true -> not given", "iou: 0.5 -> 0.7", "roi-size: not given -> 14"]
    other = CacheIdentity("cd" * 32, mine.export, mine.train_digest, mine.val_digest)
    assert mine.differences(other) == ["detector: abababababab -> cdcdcdcdcdcd"]


def test_an_identity_survives_the_file() -> None:
    """Tuples become lists and nothing else changes."""
    identity = make_identity(sizes=(1, 2), name="x")
    assert identity.differences(CacheIdentity.from_attributes(identity.to_attributes())) == []
