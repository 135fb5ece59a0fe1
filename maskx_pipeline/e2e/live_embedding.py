"""The class embedding of a box head that is still being trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN

from maskx_pipeline.detection.class_weights import class_weights, live_class_weights
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.transfer.embeddings import class_embeddings

LIVE_KINDS = ("cls", "box", "cls+box")
"""The embeddings that are weights of the box head; others, and none, do not change while it is trained."""


class LiveEmbedding(nn.Module):
    """What T reads, computed from the box head's weights as they are now.

    A reduced embedding is an affine map of the raw one. The map is fixed at the start, so that T goes on reading the
    same directions, while the categories move in them.

    Args:
        kind: ``cls``, ``box`` or ``cls+box``.
        mean (FloatTensor[D]): Subtracted from the raw embedding; None leaves it raw.
        basis (FloatTensor[D, D']): Multiplied with the centred embedding; None leaves it as it is.
    """

    mean: Tensor | None
    basis: Tensor | None

    def __init__(self, *, kind: str, mean: Tensor | None = None, basis: Tensor | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)

    @classmethod
    def following(cls, detector: FasterRCNN, kind: str, reduced: Tensor) -> LiveEmbedding:
        """The map from the detector's class weights to what T read of them.

        Args:
            detector: The detector at the start.
            kind: ``cls``, ``box`` or ``cls+box``.
            reduced (FloatTensor[K, D']): The embedding of this very detector that T was built for: raw, centred, or
                its principal components at any scale.

        Raises:
            ConfigError: ``reduced`` is none of these.
        """
        raw = class_embeddings(class_weights(detector), kind).double()
        wanted = reduced.detach().double().cpu()
        if torch.equal(raw, wanted):
            return cls(kind=kind)
        mean = raw.mean(dim=0)
        centred = raw - mean
        if centred.shape == wanted.shape and torch.allclose(centred, wanted, atol=1e-6):
            return cls(kind=kind, mean=mean.float())
        # For scores s of one principal component, X'(X s') is lambda s: the direction X's / lambda gives them back.
        directions = centred.T @ wanted
        basis = directions * (wanted.square().sum(dim=0) / directions.square().sum(dim=0))
        if not torch.allclose(centred @ basis, wanted, atol=1e-4 * float(wanted.abs().max())):
            raise ConfigError(
                "T reads something else than the class weights of the detector that this start has.",
                "start from a detector, or from a transfer model with its own detector",
            )
        return cls(kind=kind, mean=mean.float(), basis=basis.float())

    @property
    def is_raw(self) -> bool:
        """Whether T reads the class weights as they are."""
        return self.mean is None

    def forward(self, detector: FasterRCNN) -> Tensor:
        """The embedding of every category, FloatTensor[K, D']; gradients pass to the detector's last layer."""
        with torch.autocast(next(detector.parameters()).device.type, enabled=False):
            embeddings = class_embeddings(live_class_weights(detector), self.kind)
            if self.mean is not None:
                embeddings = embeddings - self.mean
            return embeddings if self.basis is None else embeddings @ self.basis
