"""RoI features in eight bits: an int8 for each value, and a scale for each channel of each RoI."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LARGEST = 127
_ROIS_AT_ONCE = 16  # on a CPU, so that their float32 products stay in its cache


def quantise(features: NDArray[np.float16]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Round features to multiples of the largest value of their channel divided by 127.

    The scales are float32: the 127th part of a small float16 is below what float16 can hold.

    Args:
        features (float16 [N, C, S, S]): Finite.

    Returns:
        Scales, float32 [N, C], 0 where a channel is zero everywhere; and values, int8 [N, C, S, S], -127..127. Their
        product differs from the feature by at most half of the scale.
    """
    wide = features.astype(np.float32)
    scales = np.abs(wide).max(axis=(2, 3)) / np.float32(_LARGEST)
    divisors = np.where(scales > 0, scales, np.float32(1))[:, :, None, None]
    return scales, np.rint(wide / divisors).astype(np.int8)


def as_float16(stored: Sequence[Tensor]) -> Tensor:
    """Features as stage 2 and the evaluation take them, on the device of what is stored.

    Args:
        stored: The columns of :meth:`RoICache.read_stored`: float16 features alone, or scales and int8 values.

    Returns:
        HalfTensor[N, C, S, S]: the features, or the products rounded to float16.
    """
    if len(stored) == 1:
        return stored[0]
    features = torch.empty_like(stored[1], dtype=torch.float16)
    count = _ROIS_AT_ONCE if features.device.type == "cpu" else max(1, len(features))
    parts = (torch.split(column, count) for column in (*stored, features))
    for scales, values, out in zip(*parts, strict=True):
        out.copy_(values.float().mul_(scales[:, :, None, None]))
    return features
