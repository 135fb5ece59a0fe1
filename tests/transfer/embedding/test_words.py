"""The words of a category name."""

from __future__ import annotations

import pytest

from maskx_pipeline.transfer.embedding.words import words_of


@pytest.mark.parametrize("name", ["hot dog", "Hot_Dog", "hot-dog", "hot_dog.n.01", " hot dog"])
def test_a_name_is_split_into_lower_case_words(name: str) -> None:
    """Spaces, underscores, hyphens and the ending of a synset are no part of a word."""
    assert words_of(name) == ("hot", "dog")
