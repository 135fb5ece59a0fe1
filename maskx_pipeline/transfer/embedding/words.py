"""The words of a category name."""

from __future__ import annotations

import re

_SYNSET_ENDING = re.compile(r"\.[a-z]\.\d+$")
_BETWEEN_WORDS = re.compile(r"[\s_-]+")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a category name, in lower case: ``Hot_dog`` and the synset ``hot_dog.n.01`` are hot, dog."""
    return tuple(_BETWEEN_WORDS.split(_SYNSET_ENDING.sub("", name.strip().lower())))
