"""The folds of a cross-validation over categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from maskx_pipeline.errors import ConfigError

FEW = 4
"""So many seen categories or fewer: each is a fold of its own, and their spread says nothing of others."""


def category_folds(masks: Mapping[int, int], *, folds: int, seed: int = 0) -> tuple[frozenset[int], ...]:
    """Deal categories into folds, stratified by their number of masks.

    Ordered by masks, each run of as many categories as there are folds is dealt in a random order, one to each fold; so
    every fold has categories of many and of few masks. Of few categories each is a fold of its own, since a fit needs
    all the categories that it can have.

    Args:
        masks: By label of the seen categories, how many training objects have a mask.
        folds: At most so many.

    Returns:
        Labels, disjoint; together all of ``masks``. The folds with a category more than the others come first.

    Raises:
        ConfigError: There is one category, or none.
    """
    if len(masks) < 2:
        raise ConfigError(
            f"There is only {len(masks)} category whose masks may be used, so none can be hidden from a fit.",
            "draw masks of a second category, four or more for an interval; or run `maskx fit-transfer`",
        )
    return _deal(masks, len(masks) if len(masks) <= FEW else min(folds, len(masks)), seed)


def half_folds(
    masks: Mapping[int, int], folds: Sequence[frozenset[int]], *, seed: int = 0
) -> tuple[frozenset[int], ...]:
    """Deal each fold into two, in the same manner; one of a single category stays whole.

    Returns:
        Labels, disjoint; together all of ``masks``. Empty where no fold can be dealt again.
    """
    if all(len(fold) < 2 for fold in folds):
        return ()
    return tuple(
        half for fold in folds for half in _deal({label: masks[label] for label in fold}, min(2, len(fold)), seed)
    )


def _deal(masks: Mapping[int, int], count: int, seed: int) -> tuple[frozenset[int], ...]:
    ordered = sorted(masks, key=lambda label: (-masks[label], label))
    generator = np.random.default_rng(seed)
    dealt: list[set[int]] = [set() for _ in range(count)]
    for start in range(0, len(ordered), count):
        block = ordered[start : start + count]
        # A last block that is short goes to the first folds.
        for place, label in zip(generator.permutation(len(block)).tolist(), block, strict=True):
            dealt[place].add(label)
    return tuple(map(frozenset, dealt))
