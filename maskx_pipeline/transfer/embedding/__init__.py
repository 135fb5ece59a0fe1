"""Class embeddings: where the raw vectors come from, a file for each kind, and what T reads of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol, Self

from torch import Tensor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.config.transfer import EMBEDDINGS
from maskx_pipeline.detection.class_weights import ClassWeights


class EmbeddingSource(Protocol):
    """Where the raw class embeddings come from; a new kind is a file here and a line of ``EMBEDDINGS``.

    Attributes:
        live: Whether joint training reads them anew from the box head in each step.
    """

    live: ClassVar[bool]

    @classmethod
    def of(cls, config: TransferConfig, category_names: Sequence[str]) -> Self:
        """The source with its options, for the K categories of these names; it reads no file yet."""

    def vectors(self, class_weights: ClassWeights) -> Tensor:
        """The raw class embeddings, FloatTensor[K, D]; gradients pass to the class weights where it is live.

        Raises:
            ConfigError: They cannot be made or read.
        """

    def files(self) -> dict[str, Path]:
        """The files whose content decides the vectors, by what the record of a run calls them."""


def embedding_source(config: TransferConfig, category_names: Sequence[str]) -> EmbeddingSource | None:
    """The source that the settings name; None where there is no T."""
    if config.embedding == "none":
        return None
    kind: type[EmbeddingSource] = pkgutil.resolve_name(EMBEDDINGS[config.embedding])
    return kind.of(config, category_names)
