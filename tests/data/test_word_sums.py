"""Checksums of rows."""

from __future__ import annotations

import numpy as np
import pytest

from maskx_pipeline.data.word_sums import row_sums, word_sum


def test_a_sum_is_that_of_the_words() -> None:
    """By hand: two words, the second filled up with zeros; modulo 2^64."""
    assert word_sum(np.frombuffer(b"\x01\0\0\0\0\0\0\0\x02", dtype=np.uint8)) == 3
    assert word_sum(np.array([2**64 - 1, 5], dtype=np.uint64)) == 4
    assert word_sum(np.zeros(0, dtype=np.int64)) == 0
    assert row_sums(np.zeros((0, 3), dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize("shape", [(3, 5), (2, 2, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.int64])
def test_every_flip_changes_the_sum_of_its_row_alone(shape: tuple[int, ...], dtype: type) -> None:
    """Of rows of any length and type."""
    rows = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    before = row_sums(rows)
    for place in range(8 * rows.nbytes):
        flipped = rows.copy()
        flipped.view(np.uint8).reshape(-1)[place // 8] ^= 1 << place % 8
        assert (row_sums(flipped) != before).nonzero()[0].tolist() == [place // 8 * len(rows) // rows.nbytes]
