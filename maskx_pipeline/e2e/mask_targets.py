"""Mask targets of sampled RoIs; only masks of seen categories are ever held."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from maskx_pipeline.data.masks import flip_segmentation, rasterize_roi_target
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import DataError


class SeenMasks:
    """The masks of the training objects of seen categories, and those by a teacher, by annotation id.

    Args:
        seen: Labels of the categories whose masks may be used.
        size: Side M of the targets.

    Raises:
        DataError: No object of these categories has a mask.
    """

    def __init__(self, data: CocoData, *, seen: Collection[int], size: int) -> None:
        self.size = size
        self._annotations = data.annotations()
        of_seen = np.isin(self._annotations.labels, list(seen))
        may_be_used = of_seen | self._annotations.taught  # a teacher's masks are nobody's truth, of any category
        rows = np.flatnonzero(may_be_used & self._annotations.has_mask & ~self._annotations.iscrowd)
        self._masks = dict(zip(self._annotations.ids[rows].tolist(), rows.tolist(), strict=True))
        self._sizes = {image.id: (image.height, image.width) for image in data.images}
        if not self._masks:
            raise DataError(
                f"{data.path}: no object of the seen categories has a mask.", "give another --split; see `maskx doctor`"
            )

    def have(self, annotation_ids: Tensor) -> Tensor:
        """Which objects have a mask that may be used: BoolTensor[N], on the device of the ids."""
        known = [number in self._masks for number in annotation_ids.tolist()]
        return torch.tensor(known, dtype=torch.bool, device=annotation_ids.device)

    def targets(self, annotation_ids: Tensor, boxes_xyxy: Tensor, *, flipped: bool) -> Tensor:
        """Draw the mask of each RoI's object in the frame of the RoI.

        Args:
            annotation_ids (LongTensor[N]): Objects that :meth:`have` a mask.
            boxes_xyxy (FloatTensor[N, 4]): The RoIs, in pixels of the image of the file, mirrored if it is.

        Returns:
            uint8 [N, M, M], 0 or 1, on the CPU.
        """
        drawn = np.empty((len(annotation_ids), self.size, self.size), dtype=np.uint8)
        mirrored: dict[int, object] = {}
        for row, (number, box) in enumerate(zip(annotation_ids.tolist(), boxes_xyxy.tolist(), strict=True)):
            annotation = self._annotations[self._masks[number]]
            height, width = self._sizes[annotation.image_id]
            mask = annotation.segmentation
            if flipped:
                if number not in mirrored:
                    mirrored[number] = flip_segmentation(mask, width)
                mask = mirrored[number]
            drawn[row] = rasterize_roi_target(mask, box, size=self.size, height=height, width=width)
        return torch.from_numpy(drawn)
