"""Features in eight bits: how far they may be from what they were, and the values that could go wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskx_pipeline.cache.eight_bit import as_float16, quantise


def _round_trip(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features after eight bits, and their scales, both float64."""
    scales, values = quantise(features)
    assert (scales.dtype, values.dtype) == (np.float32, np.int8)
    restored = as_float16([torch.from_numpy(scales), torch.from_numpy(values)])
    assert restored.dtype == torch.float16
    return restored.double().numpy(), scales.astype(np.float64)[:, :, None, None]


@pytest.mark.parametrize("size", [6e-8, 1e-4, 1.0, 6e4])
def test_a_feature_moves_by_at_most_half_of_its_scale(size: float) -> None:
    """And by the rounding to float16: from its smallest number to its largest, each channel by its own scale."""
    features = np.random.default_rng(0).uniform(-size, size, (5, 4, 7, 7)) * np.array([1, 0.1, 0.01, 1])[:, None, None]
    features = features.astype(np.float16)
    restored, scales = _round_trip(features)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(scales[..., 0, 0], np.abs(exact).max(axis=(2, 3)) / 127, rtol=1e-6)
    rounding = np.maximum(2.0**-11 * np.abs(restored), 2.0**-25)
    assert (np.abs(restored - exact) <= scales * (0.5 + 1e-5) + rounding).all()


def test_the_largest_value_of_a_channel_and_zero_stay_what_they_are() -> None:
    """At both ends of float16, with either sign."""
    features = np.zeros((1, 4, 2, 2), dtype=np.float16)
    features[0, :, 0, 0] = [65504, -65504, 1, 6e-8]
    restored, _ = _round_trip(features)
    np.testing.assert_array_equal(restored, features)


def test_a_channel_of_zeros_has_the_scale_zero() -> None:
    """Nothing is divided by it."""
    with np.errstate(all="raise"):
        restored, scales = _round_trip(np.zeros((2, 3, 4, 4), dtype=np.float16))
    assert not restored.any()
    assert not scales.any()


def test_no_rows_are_no_rows() -> None:
    """As val without images has."""
    scales, values = quantise(np.zeros((0, 3, 4, 4), dtype=np.float16))
    assert (scales.shape, values.shape) == ((0, 3), (0, 3, 4, 4))


def test_a_roi_is_rounded_as_if_it_were_alone() -> None:
    """So that no RoI, seen or unseen, has a part in another's features."""
    features = np.random.default_rng(0).normal(size=(6, 3, 4, 4)).astype(np.float16)
    scales, values = quantise(features)
    for row in range(6):
        alone = quantise(features[row : row + 1])
        np.testing.assert_array_equal(alone[0][0], scales[row])
        np.testing.assert_array_equal(alone[1][0], values[row])


def test_float16_passes_through() -> None:
    """The very tensor."""
    features = torch.rand(2, 3, 4, 4).half()
    assert as_float16([features]) is features
