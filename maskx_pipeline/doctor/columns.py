"""What the checks share: the numbers of annotations beside the sizes of their images, and how examples are named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.data.annotation_table import AnnotationTable, look_up
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.text import shown


class Columns(NamedTuple):
    """The annotations of a data set, and width and height of the image of each, float64[M] in pixels."""

    table: AnnotationTable
    widths: NDArray[np.float64]
    heights: NDArray[np.float64]


def columns_of(data: CocoData) -> Columns:
    """Look up the sizes of the images for all annotations at once."""
    table = data.annotations()
    ids = np.fromiter((image.id for image in data.images), np.int64, len(data.images))
    places = look_up(table.image_ids, ids, np.arange(1, len(ids) + 1, dtype=np.int32)) - 1
    sides = np.array([(image.width, image.height) for image in data.images], dtype=np.float64).reshape(-1, 2)
    widths, heights = sides[places].T if len(table) else (np.empty(0), np.empty(0))
    return Columns(table, widths, heights)


def examples_of(data: CocoData, rows: Iterable[int]) -> list[str]:
    """``annotation 12 of image 3 (a.jpg): bbox [1, 2, 3, 4]`` for each row."""
    table = data.annotations()
    named = []
    for row in rows:
        image = data.image(int(table.image_ids[row]))
        box = ", ".join(f"{side:g}" for side in np.round(table.boxes_xywh[row], 2).tolist())
        named.append(f"annotation {table.ids[row]} of image {image.id} ({shown(image.file_name)}): bbox [{box}]")
    return named


def overlaps(left_xyxy: NDArray[np.float64], right_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes [4, N] with those of the same row, each a pixel high and wide at least."""
    shares = []
    areas = []
    for box in (left_xyxy, right_xyxy):
        areas.append(np.maximum(box[2] - box[0], 1) * np.maximum(box[3] - box[1], 1))
    for low, high in ((0, 2), (1, 3)):
        ends = [np.maximum(box[high], box[low] + 1) for box in (left_xyxy, right_xyxy)]
        shares.append(np.clip(np.minimum(*ends) - np.maximum(left_xyxy[low], right_xyxy[low]), 0, None))
    both = shares[0] * shares[1]
    share: NDArray[np.float64] = both / np.maximum(areas[0] + areas[1] - both, 1e-9)
    return share
