"""The seam of class embeddings: what every kind says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.config.transfer import EMBEDDINGS
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.transfer.embedding import embedding_source

NAMES = ["cat", "hot dog", "cow"]


def _class_weights() -> ClassWeights:
    return ClassWeights(*(torch.randn(3, width, requires_grad=True) for width in (4, 1, 16, 4)))


@pytest.fixture
def config(tmp_path: Path) -> TransferConfig:
    words = tmp_path / "words.txt"
    words.write_text("cat 1 2\nhot 3 4\ndog 5 6\ncow 7 8\n", encoding="utf-8")
    return TransferConfig(embedding_file=words, embedding_dim=5)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_every_kind_has_a_row_per_category_and_is_live_if_it_reads_the_box_head(
    name: str, config: TransferConfig
) -> None:
    """Joint training reads a live one anew in each step, with gradients; the others do not change."""
    source = embedding_source(config.replace(embedding=name), NAMES)
    assert source is not None
    vectors, later = source.vectors(_class_weights()), source.vectors(_class_weights())
    assert len(vectors) == 3
    assert vectors.dtype == torch.float32
    assert source.live == vectors.requires_grad == (not torch.equal(vectors, later))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_every_kind_names_the_files_that_it_reads(name: str, config: TransferConfig, tmp_path: Path) -> None:
    """And no other: what `--embedding-file` names is no input of a run that does not read it."""
    source = embedding_source(config.replace(embedding=name), NAMES)
    assert source is not None
    expected = {"embedding file": tmp_path / "words.txt"} if name == "glove" else {}
    assert source.files() == expected


def test_without_an_embedding_there_is_no_source(config: TransferConfig) -> None:
    """The class-agnostic baseline has no T."""
    assert embedding_source(config.replace(embedding="none"), NAMES) is None
