"""What supervises RoIs whose object has no mask that may be used: its box, and the colours of the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskx_pipeline.engine import distributed
from maskx_pipeline.transfer.pairwise_loss import pairwise_loss
from maskx_pipeline.transfer.projection_loss import box_profiles, projection_loss


@dataclass(frozen=True, slots=True)
class BoxLosses:
    """Some of the box losses, shared by stage 2 and joint training.

    Attributes:
        names: ``projection``, ``pairwise``; none is no box loss.
    """

    names: tuple[str, ...]

    @classmethod
    def named(cls, box_loss: str) -> BoxLosses:
        """Those of the setting ``box_loss``: ``none``, or names joined by a plus."""
        return cls(() if box_loss == "none" else tuple(box_loss.split("+")))

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def need_colours(self) -> bool:
        """Whether the colours of the image are compared."""
        return "pairwise" in self.names

    def zeros(self, device: torch.device) -> dict[str, Tensor]:
        """Each loss as zero, for a step in which none is computed."""
        return {name: torch.zeros((), device=device) for name in self.names}

    def __call__(
        self,
        mask_logits: Tensor,
        object_boxes_xyxy: Tensor,
        roi_boxes_xyxy: Tensor,
        colours: Tensor | None = None,
        *,
        weight: float = 1.0,
        share: float = 1.0,
    ) -> dict[str, Tensor]:
        """Compute them.

        Args:
            mask_logits (FloatTensor[N, M, M]): For the label of each RoI.
            object_boxes_xyxy (FloatTensor[N, 4]): The object's box, in pixels.
            roi_boxes_xyxy (FloatTensor[N, 4]): The RoI's box in the same image, in pixels.
            colours (uint8 [N, M, M, 3]): RGB of the image at each cell of the RoI, where they are needed.
            weight: Of each.
            share: Of a batch that several processes have in parts, how much these RoIs are, 0..1.

        Returns:
            Scalars by name; of a part, those whose sum over the processes is that of the batch.
        """
        columns, rows = box_profiles(object_boxes_xyxy, roi_boxes_xyxy, mask_logits.shape[-1])
        losses = {}
        if "projection" in self.names:
            losses["projection"] = weight * share * projection_loss(mask_logits, columns, rows)
        if self.need_colours and colours is not None:
            of_batch = distributed.summed if share < 1 else None
            losses["pairwise"] = weight * pairwise_loss(mask_logits, colours, columns, rows, of_batch=of_batch)
        return losses
