"""GrabCut: the foreground of a box, found from the colours of the image alone (paper, section 4.3)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.masks import pixels_of_box
from maskx_pipeline.data.records import CocoData, ImageRecord
from maskx_pipeline.errors import MachineError

_COLOURS = 5  # components of GrabCut's two colour models; each needs as many pixels

Box = Sequence[float]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class BoxForeground:
    """The mask of one box.

    Attributes:
        segmentation: Compressed RLE as COCO files hold it, of the size of the image.
        found: False where GrabCut found nothing, and the mask is the whole box.
    """

    segmentation: dict[str, Any]
    found: bool


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
    def version(self) -> str:
        """OpenCV's version, for the record."""
        return str(self._cv2.__version__)

    def masks_of(self, data: CocoData, image: ImageRecord, boxes_xyxy: Sequence[Box]) -> list[BoxForeground]:
        """Read an image and segment its boxes (pixels).

        Raises:
            DataError: The image cannot be read.
        """
        if not boxes_xyxy:
            return []
        pixels = read_image(data.image_path(image.id), width=image.width, height=image.height)
        return self.segment(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()), boxes_xyxy)

    def segment(self, pixels: NDArray[np.uint8], boxes_xyxy: Iterable[Box]) -> list[BoxForeground]:
        """Segment the boxes (pixels) of an image, uint8 [H, W, 3]."""
        return [self._segment_box(pixels, box) for box in boxes_xyxy]

    def _segment_box(self, pixels: NDArray[np.uint8], box_xyxy: Box) -> BoxForeground:
        height, width = pixels.shape[:2]
        x1, y1, x2, y2 = pixels_of_box(box_xyxy, height, width)
        margin = math.ceil(self._context * max(x2 - x1, y2 - y1)) if self._context else max(height, width)
        left, top = max(x1 - margin, 0), max(y1 - margin, 0)
        window = np.ascontiguousarray(pixels[top : y2 + margin, left : x2 + margin])
        mask = np.zeros((height, width), dtype=np.uint8, order="F")
        inside = (x2 - x1) * (y2 - y1)
        if min(inside, window.shape[0] * window.shape[1] - inside) >= _COLOURS:
            foreground = self._cut(window, (x1 - left, y1 - top, x2 - x1, y2 - y1))
            mask[top : y2 + margin, left : x2 + margin] = foreground
        found = bool(mask.any())
        if not found:
            mask[y1:y2, x1:x2] = 1
        rle = coco_mask.encode(mask)
        return BoxForeground({"size": [height, width], "counts": rle["counts"].decode()}, found)

    def _cut(self, window: NDArray[np.uint8], rectangle: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """The foreground, bool [h, w]; the rectangle is x, y, width, height."""
        cv2 = self._cv2
        labels = np.zeros(window.shape[:2], dtype=np.uint8)
        models = np.zeros((1, 13 * _COLOURS)), np.zeros((1, 13 * _COLOURS))
        cv2.setRNGSeed(self._seed)  # OpenCV has one generator per thread
        cv2.grabCut(window, labels, rectangle, *models, self._iterations, cv2.GC_INIT_WITH_RECT)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def segment_images(
    grabcut: GrabCut, data: CocoData, work: Iterable[tuple[ImageRecord, _Item, Sequence[Box]]], *, workers: int
) -> Generator[tuple[ImageRecord, _Item, list[BoxForeground]], None, None]:
    """Segment the boxes of many images in threads; the order and the masks do not depend on how many.

    Args:
        work: Image, anything to be handed through, boxes.
        workers: Number of threads; 0 counts as one.
    """
    with ThreadPoolExecutor(max_workers=max(workers, 1), thread_name_prefix="grabcut") as pool:
        yield from pool.map(lambda item: (item[0], item[1], grabcut.masks_of(data, item[0], item[2])), work)


def _opencv() -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MachineError(
            f"GrabCut needs OpenCV, which cannot be imported: {error}.", "run `pip install opencv-python-headless`"
        ) from error
