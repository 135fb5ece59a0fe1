"""A teacher's masks of the boxes of many images, as RLE."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.images import read_pixels
from maskx_pipeline.data.masks import pixels_of_box, rle_of_pixels
from maskx_pipeline.data.records import CocoData, ImageRecord
from maskx_pipeline.errors import DataError
from maskx_pipeline.teachers.teacher import Teacher

Box = Sequence[float]
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class BoxMask:
    """The mask of one box.

    Attributes:
        segmentation: Compressed RLE as COCO files hold it, of the size of the image.
        found: False where the teacher found nothing, and the mask is the whole box.
    """

    segmentation: dict[str, Any]
    found: bool


def segment_boxes(
    teacher: Teacher, pixels: NDArray[np.uint8], boxes_xyxy: Sequence[Box], *, cut: bool
) -> list[BoxMask]:
    """Ask a teacher for the masks of some boxes of an image, uint8 [H, W, 3].

    Args:
        cut: Leave out what lies outside of the box, as for a box that a person drew. A mask may be right to leave a box
            that a detector found.

    Raises:
        DataError: It gives something else than a mask of the image's size for each box.
    """
    if not boxes_xyxy:
        return []
    found: list[BoxMask] = []
    given = 0
    for mask in teacher.masks(pixels, np.array(boxes_xyxy, dtype=np.float64)):
        if np.shape(mask) != pixels.shape[:2]:
            raise DataError(
                f"the teacher gave a mask of the shape {np.shape(mask)} for an image of {pixels.shape[:2]}.",
                "masks must be [H, W], as the image is",
            )
        if given < len(boxes_xyxy):
            found.append(_encoded(np.asarray(mask, dtype=bool), boxes_xyxy[given], cut=cut))
        given += 1
    if given != len(boxes_xyxy):
        raise DataError(
            f"the teacher gave {given} masks for {len(boxes_xyxy)} boxes.", "it must give one for each, in order"
        )
    return found


def segment_images(
    teacher: Teacher,
    data: CocoData,
    work: Iterable[tuple[ImageRecord, _Item, Sequence[Box]]],
    *,
    workers: int,
    cut: bool,
) -> Generator[tuple[ImageRecord, _Item, list[BoxMask]], None, None]:
    """Segment the boxes of many images in threads; the order and the masks do not depend on how many.

    Args:
        work: Image, anything to be handed through, boxes.
        workers: Number of threads; 0 counts as one.

    Raises:
        DataError: An image cannot be read.
    """

    def segmented(item: tuple[ImageRecord, _Item, Sequence[Box]]) -> tuple[ImageRecord, _Item, list[BoxMask]]:
        image, handed, boxes = item
        if not boxes:
            return image, handed, []
        pixels = read_pixels(data.image_path(image.id), width=image.width, height=image.height)
        return image, handed, segment_boxes(teacher, pixels, boxes, cut=cut)

    with ThreadPoolExecutor(max_workers=max(workers, 1), thread_name_prefix="teacher") as pool:
        yield from pool.map(segmented, work)


def _encoded(mask: NDArray[np.bool_], box_xyxy: Box, *, cut: bool) -> BoxMask:
    height, width = mask.shape
    x1, y1, x2, y2 = pixels_of_box(box_xyxy, height, width)
    whole = np.zeros((height, width), dtype=np.uint8, order="F")
    whole[y1:y2, x1:x2] = mask[y1:y2, x1:x2] if cut else 1
    pixels = whole if cut else np.asfortranarray(mask, dtype=np.uint8)
    found = bool(pixels.any())
    if not found:
        whole[y1:y2, x1:x2] = 1
        pixels = whole
    return BoxMask(rle_of_pixels(pixels), found)
