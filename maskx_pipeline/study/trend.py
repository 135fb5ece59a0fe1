"""From figures with some of the seen categories hidden to what is to be expected with none of them hidden."""

from __future__ import annotations

from collections.abc import Mapping


def carried_on(
    coarse: Mapping[int, float],
    fine: Mapping[int, float],
    *,
    hidden: Mapping[int, tuple[int, int]],
) -> dict[int, float]:
    """The figures of categories that were measured twice, carried on to a fit that sees all seen categories.

    In a straight line over the number of categories that a fit has: with a third of them hidden at first and then a
    sixth, what the second measurement gained is added once more. Each category is carried on by its own gain, so that
    the spread of the result over categories holds what is not known of the gain.

    Args:
        coarse: By category, with more of the others hidden beside it.
        fine: With fewer; categories that are not in both are left out.
        hidden: By category, how many were hidden together with it, itself included, in ``coarse`` and in ``fine``.
    """
    both = [id_ for id_ in coarse if id_ in fine]
    left = sum(hidden[id_][1] for id_ in both)
    gone = sum(hidden[id_][0] - hidden[id_][1] for id_ in both)
    share = left / gone if gone else 0.0
    return {id_: fine[id_] + share * (fine[id_] - coarse[id_]) for id_ in both}
