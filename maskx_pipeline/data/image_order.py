"""The order of an epoch's images: wide ones come with wide ones, so that batches have little padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SHUFFLE_STREAM = 2

Order = NDArray[np.int64]


def epoch_order(wide: NDArray[np.bool_], *, seed: int, epoch: int, images_per_batch: int) -> Order:
    """The images of one epoch, each once, in an order that follows from the seed and the epoch alone.

    The epochs follow one another without a gap and are cut into batches, so the first images may fill the batch that
    the epoch before began. Beside that batch and the last ones, all images of a batch are wide, or none is. Where all
    images are alike, this is a plain permutation.

    Args:
        wide: For each image whether it is at least as wide as high.

    Returns:
        LongArray[N], numbers of images.
    """
    order = np.random.default_rng([seed, _SHUFFLE_STREAM, epoch]).permutation(len(wide))
    begun = -epoch * len(order) % images_per_batch
    return np.concatenate([order[:begun], _grouped(order[begun:], wide, images_per_batch)])


def _grouped(order: Order, wide: NDArray[np.bool_], size: int) -> Order:
    """Batches of one kind, each where its last image was in the order; then what fills none: wide ones, then high."""
    batches, ends, rest = [np.empty((0, size), dtype=order.dtype)], [np.empty(0, dtype=np.int64)], []
    for kind in (True, False):
        places = np.flatnonzero(wide[order] == kind)
        full = len(places) // size * size
        filled = places[:full].reshape(-1, size)
        batches.append(order[filled])
        ends.append(filled[:, -1])
        rest.append(order[places[full:]])
    in_turn = np.argsort(np.concatenate(ends))
    return np.concatenate([np.concatenate(batches)[in_turn].reshape(-1), *rest])
