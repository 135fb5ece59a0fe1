"""What maskx needs of a teacher: whatever gives masks for boxes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Teacher(Protocol):
    """Gives masks for boxes; it is asked by one thread at a time, but for GrabCut."""

    @property
    def identity(self) -> str:
        """All that decides its masks, as a text or digest: weights, settings, code."""

    def masks(self, image: NDArray[np.uint8], boxes_xyxy: NDArray[np.float64]) -> Iterable[NDArray[np.bool_]]:
        """The mask of each box of an image.

        Args:
            image: uint8 [H, W, 3], RGB.
            boxes_xyxy: float64 [N, 4], left, top, right, bottom in pixels of the image; N is at least 1.

        Returns:
            bool [H, W] for each box, in their order; without any pixel where it finds nothing.
        """
