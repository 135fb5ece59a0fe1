"""The order of an epoch's images: a function of seed and epoch, and batches of wide images or of high ones."""

from __future__ import annotations

import numpy as np
import pytest

from maskx_pipeline.data.image_order import epoch_order


def _batches(wide, *, epochs, size, seed=0):
    """The endless row of epochs, cut into batches as the training does."""
    row = np.concatenate([epoch_order(wide, seed=seed, epoch=e, images_per_batch=size) for e in range(epochs)])
    return row, [wide[row[i : i + size]] for i in range(0, len(row) - size + 1, size)]


@pytest.mark.parametrize("size", [1, 2, 16, 50])
@pytest.mark.parametrize("high", [0, 1, 11, 40])
def test_each_image_comes_once_in_an_epoch(size, high):
    """Whatever the shapes and the batch, also one that is larger than the data."""
    wide = np.arange(40) >= high
    for epoch in range(5):
        order = epoch_order(wide, seed=3, epoch=epoch, images_per_batch=size)
        assert sorted(order.tolist()) == list(range(40))


def test_a_batch_holds_wide_images_or_high_ones():
    """1,003 images in batches of 8: of 125 batches of an epoch at most its first, which the epoch before began, and
    the two at its end are mixed."""
    wide = np.random.default_rng(0).random(1003) < 0.73
    for epoch in range(4):
        order = epoch_order(wide, seed=0, epoch=epoch, images_per_batch=8)
        begun = -epoch * 1003 % 8
        batches = [wide[order[i : i + 8]] for i in range(begun, 1003, 8)]
        assert all(len(set(batch.tolist())) == 1 for batch in batches[:-2])
        assert {bool(batch[0]) for batch in batches[:20]} == {True, False}, "both kinds come all along"
    _, batches = _batches(wide, epochs=4, size=8)
    assert sum(len(set(batch.tolist())) == 2 for batch in batches) <= 4 * 3


def test_images_of_one_kind_come_in_a_plain_permutation():
    """So that grouping changes nothing where there is nothing to group."""
    for wide in (np.ones(17, dtype=bool), np.zeros(17, dtype=bool)):
        for epoch in range(3):
            order = epoch_order(wide, seed=5, epoch=epoch, images_per_batch=4)
            plain = np.random.default_rng([5, 2, epoch]).permutation(17)
            assert order.tolist() == plain.tolist()


def test_another_seed_or_epoch_is_another_order():
    """And the same ones are the same."""
    wide = np.arange(30) % 3 > 0

    def order(**changes):
        return epoch_order(wide, **({"seed": 0, "epoch": 0, "images_per_batch": 4} | changes)).tolist()

    assert order() == order()
    assert order() != order(seed=1)
    assert order() != order(epoch=1)


def test_kinds_take_turns_as_in_the_shuffle():
    """A high image is as likely early in the epoch as late: the place of a kind's batches is even over many seeds."""
    wide = np.arange(400) >= 100
    places = [
        np.flatnonzero(~wide[epoch_order(wide, seed=seed, epoch=0, images_per_batch=4)]).mean() for seed in range(40)
    ]
    assert 185 < np.mean(places) < 215
