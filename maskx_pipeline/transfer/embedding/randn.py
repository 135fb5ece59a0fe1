"""Class embeddings from nothing but chance: the control ``randn`` (Table 1a)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.transfer.embedding.words import words_of


@dataclass(frozen=True, slots=True)
class RandomVectors:
    """A random vector per category, or per word and averaged over the words of a name.

    The paper assigns one to each class. The authors' matrix has one per word: there, categories whose names share
    a word are alike. A vector follows from the name or word and the seed alone, so the other categories and their order
    do not matter.

    Attributes:
        per: ``category`` or ``word``.
    """

    live: ClassVar[bool] = False

    names: Sequence[str]
    dim: int
    per: str
    seed: int

    @classmethod
    def of(cls, config: TransferConfig, category_names: Sequence[str]) -> Self:
        return cls(category_names, dim=config.embedding_dim, per=config.randn_per, seed=config.seed)

    def files(self) -> dict[str, Path]:
        return {}

    def vectors(self, class_weights: ClassWeights | None = None) -> Tensor:
        """FloatTensor[K, D]: N(0, 1 / D), but for names of several words per word; so about of length 1."""
        rows = [np.mean([self._vector(part) for part in self._parts(name)], axis=0) for name in self.names]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def _vector(self, word: str) -> NDArray[np.float64]:
        digest = hashlib.sha256(f"{self.seed} {word}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest)).normal(scale=self.dim**-0.5, size=self.dim)

    def _parts(self, name: str) -> tuple[str, ...]:
        return words_of(name) if self.per == "word" else ("_".join(words_of(name)),)
