"""The counter of an unfinished RoI cache: how much of it is whole.

It is kept twice and written in turn, with a checksum: one of the two is whole even if the other is torn.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskx_pipeline.cache.schema import PROGRESS


def counter(number: int, images_done: int, rows: Sequence[int]) -> list[int]:
    """A counter as it lies in the file: which commit it is, the images, the rows of each group, a checksum."""
    values = [number, images_done, *rows]
    return [*values, zlib.crc32(np.array(values, dtype="<i8").tobytes())]


def last_counter(file: Any) -> list[int]:
    """The last counter that was written whole, without its checksum: which commit, the images, rows of each group.

    Raises:
        ValueError: None is whole.
    """
    values = whole_counters(file)
    if not values:
        raise ValueError("its counter of images is broken")
    return max(values)


def whole_counters(file: Any) -> list[list[int]]:
    """Those of the two counters that are as they were written, without their checksums."""
    return [row[:-1] for row in file[PROGRESS][:].tolist() if row == counter(row[0], row[1], row[2:-1])]
