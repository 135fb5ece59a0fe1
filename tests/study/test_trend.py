"""From two measurements with some categories hidden to none hidden."""

from __future__ import annotations

import pytest

from maskx_pipeline.study.trend import carried_on


def test_what_half_brought_is_added_once_more() -> None:
    """A third hidden, then a sixth: 40 and 46 are carried on to 52, each category by its own gain."""
    found = carried_on({1: 40.0, 2: 60.0}, {1: 46.0, 2: 59.0}, hidden={1: (6, 3), 2: (6, 3)})
    assert found == pytest.approx({1: 52.0, 2: 58.0})


def test_a_straight_line_is_followed_whatever_the_sizes() -> None:
    """Figures that fall by 2 for each hidden category end at what they are with none, in the mean over categories."""
    hidden = {1: (3, 2), 2: (3, 2), 3: (3, 1), 4: (2, 1), 5: (2, 1)}
    coarse, fine = ({id_: 70.0 - 2 * sizes[place] for id_, sizes in hidden.items()} for place in (0, 1))
    found = carried_on(coarse, fine, hidden=hidden)
    assert sum(found.values()) / 5 == pytest.approx(70.0)


def test_without_a_gain_of_sizes_the_finer_figures_stand() -> None:
    """Folds of one category each; and what was measured once is left out."""
    assert carried_on({1: 40.0, 2: 50.0}, {1: 41.0}, hidden={1: (1, 1), 2: (1, 1)}) == {1: 41.0}
