"""Whether unseen categories are as near to the seen ones as these are to each other."""

from __future__ import annotations

import numpy as np
import pytest

from maskx_pipeline.study.likeness import Likeness, likeness


def circle(*degrees: float) -> np.ndarray:
    """Class weights at these angles, with an offset that all share."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32) + 100


SEEN = (0.0, 60.0, 120.0, 180.0, 240.0, 300.0)
LABELS = frozenset(range(1, 7)), frozenset(range(7, 13))


@pytest.mark.parametrize(("away", "differs"), [(10, 1), (30, 1), (60, 0)])
def test_nearer_is_told_from_as_near(away: float, differs: int) -> None:
    """Seen ones are 60 degrees from each other, the unseen so far from one of them: cosines of these angles."""
    found = likeness(circle(*SEEN, *(angle + away for angle in SEEN)), *LABELS)
    assert found is not None
    assert found.seen == pytest.approx(0.5, abs=1e-4)
    assert found.unseen == pytest.approx(max(np.cos(np.radians([away, 60 - away]))), abs=1e-4)
    if differs:
        assert found.differs() == differs


def test_farther_is_told_beyond_chance_alone() -> None:
    """Two standard errors, either way."""
    assert [Likeness(0.5, unseen, 0.1).differs() for unseen in (0.29, 0.31, 0.69, 0.71)] == [-1, 0, 0, 1]


def test_the_error_is_that_of_a_difference_of_means() -> None:
    """The square root of the sum of both variances over their numbers."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(30, 8))
    found = likeness(weights, range(1, 13), range(13, 31))
    around = weights - weights.mean(axis=0)
    units = around / np.linalg.norm(around, axis=1, keepdims=True)
    mine = [max(units[a] @ units[b] for b in range(12) if b != a) for a in range(12)]
    theirs = [max(units[a] @ units[b] for b in range(12)) for a in range(12, 30)]
    assert found is not None
    assert found.error == pytest.approx(np.sqrt(np.var(mine, ddof=1) / 12 + np.var(theirs, ddof=1) / 18))
    assert (found.seen, found.unseen) == pytest.approx((np.mean(mine), np.mean(theirs)))


def test_it_is_not_known_of_few_or_without_weights() -> None:
    """Four categories on one side, or a detector that has no weights for its categories."""
    weights = circle(*SEEN, *(angle + 10 for angle in SEEN))
    assert likeness(weights, range(1, 5), range(5, 13)) is None
    assert likeness(weights, range(1, 9), range(9, 13)) is None
    assert likeness(np.zeros((12, 2), dtype=np.float32), *LABELS) is None
