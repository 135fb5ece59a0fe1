"""GrabCut: the foreground of a box, found from the colours of the image alone (paper, section 4.3)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.masks import pixels_of_box
from maskx_pipeline.errors import MachineError

_COLOURS = 5  # components of GrabCut's two colour models; each needs as many pixels


class GrabCut:
    """OpenCV's GrabCut from boxes: the outside is background, the inside is divided by colour.

    Args:
        iterations: Rounds of fitting colours and cutting.
        context: Margin around the box, relative to its longer side, that the background's colours are taken from; 0
            takes the whole image.
        seed: Seed of the clustering that the colour models start from, set anew for each box, so that a mask is a
            function of image and box.

    Raises:
        MachineError: OpenCV is not installed.
    """

    def __init__(self, *, iterations: int, context: float, seed: int) -> None:
        self._cv2 = _opencv()
        self._cv2.setNumThreads(1)  # images are what is done in parallel
        self._iterations, self._context, self._seed = iterations, context, seed

    @property
    def identity(self) -> str:
        """Its settings. OpenCV's version is not among them, so that a new one is no reason to begin anew."""
        return f"grabcut, iterations {self._iterations}, context {self._context:g}, seed {self._seed}"

    def masks(self, image: NDArray[np.uint8], boxes_xyxy: NDArray[np.float64]) -> Iterator[NDArray[np.bool_]]:
        """The foreground of each box; nothing where there is no background, or too few pixels for the colours."""
        return (self._mask(image, box) for box in boxes_xyxy)

    def _mask(self, image: NDArray[np.uint8], box_xyxy: NDArray[np.float64]) -> NDArray[np.bool_]:
        height, width = image.shape[:2]
        x1, y1, x2, y2 = pixels_of_box(box_xyxy.tolist(), height, width)
        margin = math.ceil(self._context * max(x2 - x1, y2 - y1)) if self._context else max(height, width)
        left, top = max(x1 - margin, 0), max(y1 - margin, 0)
        window = np.ascontiguousarray(image[top : y2 + margin, left : x2 + margin])
        mask = np.zeros((height, width), dtype=bool)
        inside = (x2 - x1) * (y2 - y1)
        if min(inside, window.shape[0] * window.shape[1] - inside) >= _COLOURS:
            foreground = self._cut(window, (x1 - left, y1 - top, x2 - x1, y2 - y1))
            mask[top : y2 + margin, left : x2 + margin] = foreground
        return mask

    def _cut(self, window: NDArray[np.uint8], rectangle: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """The foreground, bool [h, w]; the rectangle is x, y, width, height."""
        cv2 = self._cv2
        labels = np.zeros(window.shape[:2], dtype=np.uint8)
        models = np.zeros((1, 13 * _COLOURS)), np.zeros((1, 13 * _COLOURS))
        cv2.setRNGSeed(self._seed)  # OpenCV has one generator per thread
        cv2.grabCut(window, labels, rectangle, *models, self._iterations, cv2.GC_INIT_WITH_RECT)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MachineError(
            f"GrabCut needs OpenCV, which cannot be imported: {error}.", "run `pip install opencv-python-headless`"
        ) from error
