"""Class embeddings from class weights: which, and in what order."""

from __future__ import annotations

import pytest
import torch

from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embedding.class_weights import ClassWeightVectors


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
    assert ClassWeightVectors(kind).vectors(_weights()).shape == (3, width)


def test_cls_comes_before_box() -> None:
    """cls+box is the row of w_cls followed by that of w_box, as in the authors' code."""
    embeddings = ClassWeightVectors("cls+box").vectors(_weights())
    assert torch.equal(embeddings[1], torch.cat([_weights().w_cls[1], _weights().w_box[1]]))


def test_an_unknown_embedding_is_an_error_that_names_the_known() -> None:
    """A wrong kind is refused with the list of right ones."""
    with pytest.raises(ConfigError, match=r"cls\+box"):
        ClassWeightVectors("word2vec").vectors(_weights())
