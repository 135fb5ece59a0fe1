"""Folds over categories."""

from __future__ import annotations

import pytest

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.study.category_folds import category_folds, half_folds


@pytest.mark.parametrize("seed", range(5))
def test_every_fold_has_categories_of_many_and_of_few_masks(seed: int) -> None:
    """Nine categories in three folds: one of each third, by masks."""
    masks = {label: 1000 // label for label in range(1, 10)}
    folds = category_folds(masks, folds=3, seed=seed)
    for fold in folds:
        assert sorted((label - 1) // 3 for label in fold) == [0, 1, 2]


def test_each_category_is_in_one_fold_and_the_first_folds_have_one_more() -> None:
    """Eleven in three folds: 4, 4, 3."""
    folds = category_folds({label: label for label in range(1, 12)}, folds=3)
    assert [len(fold) for fold in folds] == [4, 4, 3]
    assert sorted(label for fold in folds for label in fold) == list(range(1, 12))


def test_the_seed_decides_the_folds() -> None:
    """And nothing else does: the order in which categories come is none of it."""
    masks = dict.fromkeys(range(1, 13), 10)
    assert category_folds(masks, folds=3, seed=1) == category_folds(dict(reversed(masks.items())), folds=3, seed=1)
    assert category_folds(masks, folds=3, seed=1) != category_folds(masks, folds=3, seed=2)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_few_categories_each_is_a_fold(count: int) -> None:
    """Whatever number of folds is asked for."""
    folds = category_folds(dict.fromkeys(range(1, count + 1), 1), folds=2)
    assert sorted(map(sorted, folds)) == [[label] for label in range(1, count + 1)]


def test_one_category_cannot_be_hidden() -> None:
    """There would be none to fit to."""
    with pytest.raises(ConfigError, match="only 1 category"):
        category_folds({3: 100}, folds=3)


@pytest.mark.parametrize("seed", range(5))
def test_halves_lie_in_their_folds_and_have_many_and_few_masks(seed: int) -> None:
    """Of four categories, one of the two with many masks in each; of one category, itself."""
    masks = {1: 900, 2: 800, 3: 20, 4: 10, 5: 500}
    halves = half_folds(masks, (frozenset({1, 2, 3, 4}), frozenset({5})), seed=seed)
    assert [len(half) for half in halves] == [2, 2, 1]
    assert halves[0] | halves[1] == {1, 2, 3, 4}
    assert all(len(half & {1, 2}) == 1 for half in halves[:2])


def test_folds_of_one_category_have_no_halves() -> None:
    """There is nothing to see a gain by."""
    assert half_folds({1: 10, 2: 10}, (frozenset({1}), frozenset({2}))) == ()
