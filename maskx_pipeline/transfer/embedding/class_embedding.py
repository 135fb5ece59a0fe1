"""What T reads: class embeddings, raw or conditioned, and the map to them from raw ones."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from maskx_pipeline.engine.device import autocast
from maskx_pipeline.errors import ConfigError

# Eigenvalues (squared lengths) below these are rounding noise of float64, not a direction in which categories differ:
# relative to the largest one, and, where all rows are equal, to the squared length of the embeddings themselves.
_NOISE_OF_LARGEST = 1e-10
_NOISE_OF_ALL = 1e-20


class ClassEmbedding(nn.Module):
    """What T reads of every category, with the map that made it of the raw class embeddings.

    All are buffers, so a mask model stands on its own, and joint training goes on with the map of the start: T reads
    the same directions, while the categories move in them.

    Args:
        rows (FloatTensor[K, D']): What T reads.
        mean (FloatTensor[D]): Subtracted from raw embeddings; None leaves them raw.
        basis (FloatTensor[D, D']): Multiplied with centred embeddings; None leaves them as they are.
    """

    rows: Tensor
    mean: Tensor | None
    basis: Tensor | None

    def __init__(self, *, rows: Tensor, mean: Tensor | None = None, basis: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("rows", rows.detach().clone())
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)

    @classmethod
    def conditioned(cls, raw: Tensor, condition: str, *, components: int, std: float) -> Self:
        """Condition raw class embeddings.

        Args:
            raw (FloatTensor[K, D]): One row per category, seen and unseen.
            condition: ``raw``; ``centred``, less the mean over all categories; or ``pca``.
            components: For ``pca``, see :func:`principal_components`.
            std: For ``pca``.

        Raises:
            ConfigError: There is no such condition, or, for ``pca``, all rows are equal.
        """
        if condition == "raw":
            return cls(rows=raw)
        mean = raw.detach().double().mean(dim=0)
        if condition == "centred":
            return cls(rows=(raw.double() - mean).float(), mean=mean.float())
        if condition == "pca":
            found = principal_components(raw, components=components, std=std)
            return cls(rows=found.scores, mean=mean.float(), basis=found.basis)
        raise ConfigError(f"`{condition}` is not a condition of the embedding.", "one of: raw, centred, pca")

    def forward(self, raw: Tensor) -> Tensor:
        """Condition raw embeddings that may have moved since: FloatTensor[K, D] to [K, D'], with gradients."""
        with autocast(raw.device, None):
            centred = raw if self.mean is None else raw - self.mean
            return centred if self.basis is None else centred @ self.basis


class Components(NamedTuple):
    """Principal components of K rows.

    Attributes:
        scores (FloatTensor[K, D']): Of each row; each column has mean 0 and its entry of largest magnitude is positive.
        basis (FloatTensor[D, D']): Centred rows times this are the scores.
    """

    scores: Tensor
    basis: Tensor


def principal_components(embeddings: Tensor, *, components: int, std: float) -> Components:
    """Reduce class embeddings to their first principal components over all categories, seen and unseen.

    Class weights come from boxes alone, which every category has, so that taking them all leaks no mask.

    Args:
        embeddings (FloatTensor[K, D]): One row per category.
        components: How many to keep; fewer where the categories span fewer dimensions.
        std: The std of all scores together; the components keep their relative sizes.

    Returns:
        D' = min(components, rank) components.

    Raises:
        ConfigError: All rows are equal, as with a single category.
    """
    rows = embeddings.detach().double().cpu()
    centred = rows - rows.mean(dim=0)
    # The smaller of the two products has the same components as the [K, D] matrix, sooner than its own SVD.
    wide = centred.shape[0] <= centred.shape[1]
    eigenvalues, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    eigenvalues, vectors = eigenvalues.flip(0)[:components], vectors.flip(1)[:, :components]
    noise = max(_NOISE_OF_LARGEST * eigenvalues[0].item(), _NOISE_OF_ALL * rows.square().sum().item())
    keep = eigenvalues > noise
    if not keep.any():
        raise ConfigError(
            f"The class embeddings of the {len(rows)} categories do not differ, so they have no components.",
            "give --condition raw, or --embedding none for the class-agnostic baseline",
        )
    kept = vectors[:, keep]
    lengths = eigenvalues[keep].sqrt()
    scores = kept * lengths if wide else centred @ kept
    directions = centred.T @ kept / lengths if wide else kept
    signs = scores.gather(0, scores.abs().argmax(dim=0, keepdim=True)).sign()
    scores = scores * signs
    gain = std / scores.std(correction=0)
    return Components(scores=(scores * gain).float(), basis=(directions * signs * gain).float())
