"""The categories of the data set `shapes`, and which of them keep their masks in training."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.shapes.draw import HUES, SHAPES, TEXTURES


@dataclass(frozen=True, slots=True)
class ShapesCategory:
    """A shape, a texture and a hue (indices), and whether its masks are kept in training."""

    shape: int
    texture: int
    hue: int
    masked: bool
    name: str
    supercategory: str


def shapes_categories(*, shapes: int, textures: int, hues: int, categories: int) -> tuple[ShapesCategory, ...]:
    """Choose the categories and which of them keep their masks in training.

    Args:
        categories: How many combinations to take, evenly over all attribute values; 0 takes every one.

    Raises:
        ConfigError: There are not that many shapes, textures, hues or combinations.
    """
    for name, asked, known in (
        ("shapes", shapes, SHAPES),
        ("textures", textures, TEXTURES),
        ("hues", hues, HUES),
    ):
        if not 1 <= asked <= len(known):
            raise ConfigError(f"[shapes] {name} = {asked}.", f"give 1 to {len(known)}")
    combinations = list(itertools.product(range(shapes), range(textures), range(hues)))
    count = categories or len(combinations)
    if not 2 <= count <= len(combinations):
        raise ConfigError(
            f"[shapes] categories = {categories}, but {shapes} shapes x {textures} textures x {hues} hues make "
            f"{len(combinations)} combinations.",
            f"give 2 to {len(combinations)}, or 0 for every one",
        )
    chosen = sorted(_spread(combinations, count))
    names = _hue_names(hues)
    return tuple(
        ShapesCategory(s, t, h, (s + t + h) % 2 == 0, f"{names[h]} {TEXTURES[t]} {SHAPES[s]}", SHAPES[s])
        for s, t, h in chosen
    )


def _hue_names(hues: int) -> list[str]:
    return [HUES[i * len(HUES) // hues] for i in range(hues)]


def _spread(combinations: list[tuple[int, int, int]], count: int) -> list[tuple[int, int, int]]:
    """Take `count` combinations, seen and unseen in turn, always the one whose attribute values are rarest so far."""
    order = np.random.default_rng(0).permutation(len(combinations))
    left = [combinations[i] for i in order]
    uses: dict[tuple[int, int, bool], int] = {}
    chosen: list[tuple[int, int, int]] = []
    while len(chosen) < count:
        odd = len(chosen) % 2
        candidates = [combination for combination in left if sum(combination) % 2 == odd] or left
        best = min(candidates, key=lambda values: sum(uses.get((a, v, bool(odd)), 0) for a, v in enumerate(values)))
        for attribute, value in enumerate(best):
            key = (attribute, value, bool(odd))
            uses[key] = uses.get(key, 0) + 1
        left.remove(best)
        chosen.append(best)
    return chosen
