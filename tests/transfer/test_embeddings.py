"""Class embeddings: layout, and principal components over all categories."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embeddings import class_embeddings, condition_embeddings, principal_components


def _weights() -> ClassWeights:
    return ClassWeights(
        w_cls=torch.arange(6.0).view(3, 2),
        b_cls=torch.full((3,), 100.0),
        w_box=100 + torch.arange(24.0).view(3, 8),
        b_box=torch.full((3, 4), 100.0),
    )


@pytest.mark.parametrize(("kind", "width"), [("cls", 2), ("box", 8), ("cls+box", 10)])
def test_embeddings_have_a_row_per_category_without_biases(kind: str, width: int) -> None:
    """The embedding is made of weights alone: D, 4 D or 5 D columns."""
    assert class_embeddings(_weights(), kind).shape == (3, width)


def test_cls_comes_before_box() -> None:
    """cls+box is the row of w_cls followed by that of w_box, as in the authors' code."""
    embeddings = class_embeddings(_weights(), "cls+box")
    assert torch.equal(embeddings[1], torch.cat([_weights().w_cls[1], _weights().w_box[1]]))


def test_an_unknown_embedding_is_an_error_that_names_the_known() -> None:
    """A wrong kind is refused with the list of right ones."""
    with pytest.raises(ConfigError, match=r"cls\+box"):
        class_embeddings(_weights(), "word2vec")


def test_components_are_centred_over_all_categories_and_scaled() -> None:
    """Each component has mean 0 over all K rows, and all entries together the asked std."""
    components = principal_components(5 + torch.randn(20, 50), components=4, std=0.3)
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
    found = principal_components(embeddings, components=3, std=1.0).double().abs()
    assert torch.allclose(found / found.max(), expected / expected.max(), atol=1e-5)


def test_components_are_deterministic_in_sign() -> None:
    """The entry of largest magnitude of each component is positive, and a second call is bit-identical."""
    embeddings = torch.randn(9, 30)
    first = principal_components(embeddings, components=5, std=0.3)
    assert torch.equal(first, principal_components(embeddings.clone(), components=5, std=0.3))
    assert (first.gather(0, first.abs().argmax(dim=0, keepdim=True)) > 0).all()


def test_there_are_no_more_components_than_the_categories_span() -> None:
    """K categories span K - 1 dimensions; doubled rows span no more than single ones."""
    rows = torch.randn(5, 40)
    assert principal_components(rows, components=16, std=0.3).shape == (5, 4)
    assert principal_components(torch.cat([rows, rows]), components=16, std=0.3).shape == (10, 4)


def test_a_small_difference_beside_a_large_mean_still_counts() -> None:
    """Class weights that differ by a thousandth of their common part have components."""
    assert principal_components(1 + 1e-3 * torch.randn(6, 30), components=3, std=0.3).shape == (6, 3)


@pytest.mark.parametrize("categories", [1, 4])
def test_equal_embeddings_are_an_error(categories: int) -> None:
    """A single category, or equal rows, cannot be told apart, and the error says what to use instead."""
    with pytest.raises(ConfigError, match=r"do not differ.*\n.*--embedding none"):
        principal_components(torch.full((categories, 9), 0.37), components=3, std=0.3)


def test_the_raw_condition_changes_nothing() -> None:
    """Bit for bit, as the authors' T reads it."""
    rows = torch.randn(5, 7)
    assert torch.equal(condition_embeddings(rows, "raw", components=2, std=0.3), rows)


def test_the_centred_condition_takes_the_mean_away_and_keeps_the_scale() -> None:
    """Differences between categories stay as they were."""
    rows = 3 + torch.randn(5, 7)
    centred = condition_embeddings(rows, "centred", components=2, std=0.3)
    assert torch.allclose(centred.mean(dim=0), torch.zeros(7), atol=1e-6)
    assert torch.allclose(centred[0] - centred[1], rows[0] - rows[1], atol=1e-6)


def test_the_pca_condition_is_the_principal_components() -> None:
    """With the given number and std."""
    rows = torch.randn(5, 7)
    expected = principal_components(rows, components=2, std=0.4)
    assert torch.equal(condition_embeddings(rows, "pca", components=2, std=0.4), expected)


def test_an_unknown_condition_is_an_error() -> None:
    """A wrong word is refused with the right ones."""
    with pytest.raises(ConfigError, match="raw, centred, pca"):
        condition_embeddings(torch.zeros(2, 2), "whitened", components=1, std=1.0)
