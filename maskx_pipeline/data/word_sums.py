"""Checksums that cost next to nothing: sums of 64-bit words, which no flip of a single bit leaves as they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WORD = 8


def word_sum(array: NDArray[Any]) -> int:
    """The sum of an array's bytes as little-endian words, modulo 2^64; the last word is filled up with zeros."""
    return int(row_sums(array.reshape(1, -1))[0])


def row_sums(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """The :func:`word_sum` of each row: uint64 [N]."""
    count, width = len(rows), rows.itemsize * math.prod(rows.shape[1:])
    contiguous = np.ascontiguousarray(rows).reshape(count, width // rows.itemsize if width else 0)
    raw = contiguous.view(np.uint8).reshape(count, width)
    whole = width - width % _WORD
    if whole == width and width and raw.ctypes.data % _WORD == 0:
        words = raw.view("<u8")
    else:
        padded = np.zeros((count, math.ceil(width / _WORD) * _WORD), dtype=np.uint8)
        padded[:, :width] = raw
        words = padded.view("<u8")
    sums: NDArray[np.uint64] = words.sum(axis=1, dtype=np.uint64)
    return sums
