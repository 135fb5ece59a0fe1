"""Whether the unseen categories are as near to the seen ones as these are to each other, by what the detector knows."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 5
"""From fewer categories on either side nothing is said."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """The cosine of a category's class weights to those of the nearest seen category, means over categories.

    Attributes:
        seen: Of each seen category, to the others.
        unseen: Of each unseen one, to the seen.
        error: The standard error of the difference.
    """

    seen: float
    unseen: float
    error: float

    def differs(self) -> int:
        """1 where the unseen ones are nearer by more than chance, -1 where they are farther, else 0."""
        difference = self.unseen - self.seen
        return 0 if abs(difference) <= 2 * self.error else int(math.copysign(1, difference))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def likeness(
    class_weights: NDArray[np.floating[Any]], seen: Collection[int], unseen: Collection[int]
) -> Likeness | None:
    """Compare nearest neighbours; None where there are too few categories, or no weights to tell them apart.

    Args:
        class_weights: Of the classification layer, [K, D], label 1 first. What is common to all is taken off.
        seen: Labels whose masks may be used.
        unseen: Labels to which the expectation is to hold.
    """
    if min(len(seen), len(unseen)) < LEAST:
        return None
    around = class_weights.astype(np.float64) - class_weights.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(around, axis=1, keepdims=True)
    if not np.all(lengths > 0):
        return None
    cosines = (around / lengths) @ (around / lengths).T
    np.fill_diagonal(cosines, -np.inf)
    mine, theirs = (np.array(sorted(labels)) - 1 for labels in (seen, unseen))
    nearest = [cosines[np.ix_(rows, mine)].max(axis=1) for rows in (mine, theirs)]
    error = math.sqrt(sum(float(values.var(ddof=1)) / len(values) for values in nearest))
    return Likeness(float(nearest[0].mean()), float(nearest[1].mean()), error)
