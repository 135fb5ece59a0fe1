"""Class embeddings from the detector: the weights of its box head's last layer (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ClassWeightVectors:
    """The class embedding w_det of every category (Table 1a), raw as in the authors' code.

    Attributes:
        kind: ``cls``, ``box`` or ``cls+box``.
    """

    live: ClassVar[bool] = True

    kind: str

    @classmethod
    def of(cls, config: TransferConfig, category_names: Sequence[str]) -> Self:
        return cls(config.embedding)

    def files(self) -> dict[str, Path]:
        return {}

    def vectors(self, class_weights: ClassWeights) -> Tensor:
        """Join the rows of the class weights, which are without the background.

        Returns:
            FloatTensor[K, D], [K, 4D] or [K, 5D]; biases are not part of it, and ``box`` is dx | dy | dw | dh.

        Raises:
            ConfigError: There is no such embedding, or the detector has none of these weights.
        """
        cls, box = class_weights.w_cls, class_weights.w_box
        parts = {"cls": (cls,), "box": (box,), "cls+box": (cls, box)}
        if self.kind not in parts:
            raise ConfigError(
                f"`{self.kind}` is not made of class weights.", f"give --embedding {', '.join(parts)} or none"
            )
        vectors = torch.cat([part.float() for part in parts[self.kind]], dim=1)
        if vectors.shape[1] == 0:
            raise ConfigError(f"The detector has no {self.kind} weights per category.", "give --embedding cls")
        return vectors
