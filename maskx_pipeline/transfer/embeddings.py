"""Class embeddings: what the transfer function reads, one row per category."""

from __future__ import annotations

import torch
from torch import Tensor

from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.errors import ConfigError

# Eigenvalues (squared lengths) below these are rounding noise of float64, not a direction in which categories differ:
# relative to the largest one, and, where all rows are equal, to the squared length of the embeddings themselves.
_NOISE_OF_LARGEST = 1e-10
_NOISE_OF_ALL = 1e-20


def class_embeddings(weights: ClassWeights, kind: str) -> Tensor:
    """The class embedding w_det of every category (section 3.1; Table 1a), raw as in the authors' code.

    Args:
        weights: Weights of the box head's last layer, without the background row.
        kind: ``cls``, ``box`` or ``cls+box``.

    Returns:
        FloatTensor[K, D], [K, 4D] or [K, 5D]; biases are not part of it, and ``box`` is dx | dy | dw | dh.

    Raises:
        ConfigError: There is no such embedding, or the detector has none of these weights.
    """
    parts = {"cls": (weights.w_cls,), "box": (weights.w_box,), "cls+box": (weights.w_cls, weights.w_box)}
    if kind not in parts:
        raise ConfigError(f"`{kind}` is not made of class weights.", f"give --embedding {', '.join(parts)} or none")
    embeddings = torch.cat([part.float() for part in parts[kind]], dim=1)
    if embeddings.shape[1] == 0:
        raise ConfigError(f"The detector has no {kind} weights per category.", "give --embedding cls")
    return embeddings


def condition_embeddings(embeddings: Tensor, condition: str, *, components: int, std: float) -> Tensor:
    """What T reads of the class embeddings.

    Args:
        embeddings (FloatTensor[K, D]): One row per category, seen and unseen.
        condition: ``raw``; ``centred``, less the mean over all categories; or ``pca``.
        components: For ``pca``, see :func:`principal_components`.
        std: For ``pca``.

    Returns:
        FloatTensor[K, D], or [K, components] at most for ``pca``.

    Raises:
        ConfigError: There is no such condition, or, for ``pca``, all rows are equal.
    """
    if condition == "raw":
        return embeddings
    if condition == "centred":
        rows = embeddings.double()
        return (rows - rows.mean(dim=0)).float()
    if condition == "pca":
        return principal_components(embeddings, components=components, std=std)
    raise ConfigError(f"`{condition}` is not a condition of the embedding.", "one of: raw, centred, pca")


def principal_components(embeddings: Tensor, *, components: int, std: float) -> Tensor:
    """Reduce class embeddings to their first principal components over all categories, seen and unseen.

    Class weights come from boxes alone, which every category has, so that taking them all leaks no mask.

    Args:
        embeddings (FloatTensor[K, D]): One row per category.
        components: How many to keep; fewer where the categories span fewer dimensions.
        std: The std of all entries of the result together; the components keep their relative sizes.

    Returns:
        FloatTensor[K, min(components, rank)]: Each column has mean 0 and its entry of largest magnitude is positive.

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
    scores = vectors[:, keep] * eigenvalues[keep].sqrt() if wide else centred @ vectors[:, keep]
    largest = scores.gather(0, scores.abs().argmax(dim=0, keepdim=True))
    scores = scores * largest.sign()
    components_of_rows: Tensor = scores * (std / scores.std(correction=0))
    return components_of_rows.float()
