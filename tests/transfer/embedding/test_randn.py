"""Random vectors as class embeddings."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.transfer.embedding.randn import RandomVectors


@pytest.mark.parametrize("per", ["category", "word"])
def test_random_vectors_follow_from_word_and_seed_alone(per: str) -> None:
    """Other categories, their number and order change nothing; another seed changes all."""
    few = RandomVectors(["dog", "cat"], dim=50, per=per, seed=0).vectors()
    many = RandomVectors(["cat", "bird", "dog", "hot dog"], dim=50, per=per, seed=0).vectors()
    assert torch.equal(few, many[[2, 0]])
    assert not torch.isclose(few, RandomVectors(["dog", "cat"], dim=50, per=per, seed=1).vectors()).any()


def test_random_vectors_are_normal_per_word_and_averaged_over_words() -> None:
    """N(0, 1 / 300): length about 1 for one word and .7 for two, and dog and hot dog are .7 alike, as the authors'."""
    vectors = RandomVectors(
        ["dog", "hot dog", *(f"w{number}" for number in range(80))], dim=300, per="word", seed=0
    ).vectors()
    assert vectors.dtype == torch.float32
    assert vectors[2:].std().item() == pytest.approx(300**-0.5, rel=0.02)
    assert vectors[2:].norm(dim=1).mean().item() == pytest.approx(1, rel=0.03)
    assert vectors[1].norm().item() == pytest.approx(0.71, abs=0.08)
    assert torch.cosine_similarity(vectors[0], vectors[1], dim=0).item() == pytest.approx(0.7, abs=0.1)
    hot = RandomVectors(["hot"], dim=300, per="word", seed=0).vectors()
    assert torch.allclose(vectors[1], (vectors[0] + hot[0]) / 2)


def test_random_vectors_per_category_share_nothing_where_names_share_a_word() -> None:
    """Or, on categories named by their attributes, the control would know these."""
    names = ["red dot", "red line", "blue dot"]
    vectors = RandomVectors(names, dim=300, per="category", seed=0).vectors()
    assert vectors.norm(dim=1).tolist() == pytest.approx([1, 1, 1], abs=0.15)
    assert (vectors @ vectors.T).fill_diagonal_(0).abs().max() < 0.25
    shared = RandomVectors(names, dim=300, per="word", seed=0).vectors()
    assert torch.cosine_similarity(shared[0], shared[1], dim=0).item() == pytest.approx(0.5, abs=0.15)
