"""What was found in a picture that was looked at in tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.detection.detector import Detections


@dataclass(frozen=True, slots=True)
class TiledObjects(Detections):
    """Objects with masks of the whole picture, which may be joined from several tiles.

    Attributes:
        rles: The mask of each object, as COCO writes it in JSON.
    """

    rles: tuple[dict[str, Any], ...]

    def above(self, score_threshold: float) -> TiledObjects:
        """Those with at least this score."""
        kept = self.scores >= score_threshold
        rles = tuple(rle for rle, keep in zip(self.rles, kept.tolist(), strict=True) if keep)
        return TiledObjects(self.boxes_xyxy[kept], self.scores[kept], self.labels[kept], rles)

    def masks(self, height: int, width: int) -> NDArray[np.uint8]:
        """uint8[N, height, width], 1 inside the object, of the picture at that size."""
        drawn = np.empty((len(self.rles), height, width), dtype=np.uint8)
        for mask, rle in zip(drawn, self.rles, strict=True):
            mask[...] = np.asarray(Image.fromarray(coco_mask.decode(rle)).resize((width, height)))
        return drawn
