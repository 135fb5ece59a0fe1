"""What T reads: principal components over all categories, and the map from raw embeddings."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embedding.class_embedding import ClassEmbedding, principal_components


def test_components_are_centred_over_all_categories_and_scaled() -> None:
    """Each component has mean 0 over all K rows, and all entries together the asked std."""
    components = principal_components(5 + torch.randn(20, 50), components=4, std=0.3).scores
    assert components.shape == (20, 4)
    assert torch.allclose(components.mean(dim=0), torch.zeros(4), atol=1e-6)
    assert components.std(correction=0).item() == pytest.approx(0.3, rel=1e-5)


@pytest.mark.parametrize("categories", [5, 12])
def test_components_keep_the_directions_of_largest_variance_in_order(categories: int) -> None:
    """They equal U S of the centred matrix up to sign and one scale, whether K or D is larger."""
    embeddings = torch.randn(categories, 7) * torch.tensor([9.0, 7, 5, 3, 1, 0.5, 0.1])
    centred = (embeddings - embeddings.mean(dim=0)).double()
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = (u * s)[:, :3].abs()
    found = principal_components(embeddings, components=3, std=1.0).scores.double().abs()
    assert torch.allclose(found / found.max(), expected / expected.max(), atol=1e-5)


def test_components_are_deterministic_in_sign() -> None:
    """The entry of largest magnitude of each component is positive, and a second call is bit-identical."""
    embeddings = torch.randn(9, 30)
    first = principal_components(embeddings, components=5, std=0.3).scores
    assert torch.equal(first, principal_components(embeddings.clone(), components=5, std=0.3).scores)
    assert (first.gather(0, first.abs().argmax(dim=0, keepdim=True)) > 0).all()


def test_there_are_no_more_components_than_the_categories_span() -> None:
    """K categories span K - 1 dimensions; doubled rows span no more than single ones."""
    rows = torch.randn(5, 40)
    assert principal_components(rows, components=16, std=0.3).scores.shape == (5, 4)
    assert principal_components(torch.cat([rows, rows]), components=16, std=0.3).scores.shape == (10, 4)


def test_a_small_difference_beside_a_large_mean_still_counts() -> None:
    """Class weights that differ by a thousandth of their common part have components."""
    assert principal_components(1 + 1e-3 * torch.randn(6, 30), components=3, std=0.3).scores.shape == (6, 3)


@pytest.mark.parametrize("categories", [1, 4])
def test_equal_embeddings_are_an_error(categories: int) -> None:
    """A single category, or equal rows, cannot be told apart, and the error says what to use instead."""
    with pytest.raises(ConfigError, match=r"do not differ.*\n.*--embedding none"):
        principal_components(torch.full((categories, 9), 0.37), components=3, std=0.3)


def test_the_raw_condition_changes_nothing() -> None:
    """Bit for bit, as the authors' T reads it."""
    rows = torch.randn(5, 7)
    assert torch.equal(ClassEmbedding.conditioned(rows, "raw", components=2, std=0.3).rows, rows)


def test_the_centred_condition_takes_the_mean_away_and_keeps_the_scale() -> None:
    """Differences between categories stay as they were."""
    rows = 3 + torch.randn(5, 7)
    centred = ClassEmbedding.conditioned(rows, "centred", components=2, std=0.3).rows
    assert torch.allclose(centred.mean(dim=0), torch.zeros(7), atol=1e-6)
    assert torch.allclose(centred[0] - centred[1], rows[0] - rows[1], atol=1e-6)


def test_the_pca_condition_is_the_principal_components() -> None:
    """With the given number and std."""
    rows = torch.randn(5, 7)
    expected = principal_components(rows, components=2, std=0.4).scores
    assert torch.equal(ClassEmbedding.conditioned(rows, "pca", components=2, std=0.4).rows, expected)


def test_an_unknown_condition_is_an_error() -> None:
    """A wrong word is refused with the right ones."""
    with pytest.raises(ConfigError, match="raw, centred, pca"):
        ClassEmbedding.conditioned(torch.zeros(2, 2), "whitened", components=1, std=1.0)


@pytest.mark.parametrize("condition", ["raw", "centred", "pca"])
@pytest.mark.parametrize(("categories", "width"), [(6, 40), (30, 4)])
def test_the_map_makes_of_raw_embeddings_what_t_reads(condition: str, categories: int, width: int) -> None:
    """Whether K or D is larger; and it is linear, so a category that moves leaves the others where they are."""
    raw = 2 + torch.randn(categories, width)
    embedding = ClassEmbedding.conditioned(raw, condition, components=3, std=0.3)
    assert torch.allclose(embedding(raw), embedding.rows, atol=1e-5)
    moved = raw.clone()
    moved[0] += 1.0
    assert torch.allclose(embedding(moved)[1:], embedding.rows[1:], atol=1e-5)
    assert not torch.allclose(embedding(moved)[0], embedding.rows[0], atol=1e-2)


def test_the_map_keeps_its_gradients_and_its_precision() -> None:
    """Under mixed precision too: raw class weights are small."""
    raw = torch.randn(5, 7, requires_grad=True)
    embedding = ClassEmbedding.conditioned(raw, "pca", components=2, std=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        mapped = embedding(raw)
    assert mapped.dtype == torch.float32
    mapped[1].sum().backward()
    assert raw.grad is not None
    assert raw.grad.any(dim=1).tolist() == [False, True, False, False, False]


def test_rows_and_map_are_kept_with_the_weights() -> None:
    """So that what starts from a fitted model needs nothing else; the map of raw embeddings is none."""
    raw = torch.randn(5, 7)
    shapes = {
        condition: {name: tuple(value.shape) for name, value in embedding.state_dict().items()}
        for condition in ("raw", "centred", "pca")
        for embedding in [ClassEmbedding.conditioned(raw, condition, components=2, std=0.3)]
    }
    assert shapes == {
        "raw": {"rows": (5, 7)},
        "centred": {"rows": (5, 7), "mean": (7,)},
        "pca": {"rows": (5, 2), "mean": (7,), "basis": (7, 2)},
    }
