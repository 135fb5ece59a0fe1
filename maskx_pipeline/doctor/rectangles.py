"""Masks that are only their box again: made by a tool from the boxes, they teach a model to draw rectangles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pycocotools import mask as coco_mask

from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.data.polygon_area import SHORTEST_POLYGON
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.engine.progress import Progress

_TOLERANCE = 1.0
"""Pixels between a mask's side and its box's: files round either, and disagree on where a pixel ends."""

_PER_SIDE = 0.1
"""The same, relative to the box: of a thing of few pixels, an honest outline is within a pixel of the box."""

_Box = tuple[float, float, float, float]


def count_rectangles(data: CocoData) -> Counter[int]:
    """By label, how many objects have a mask of their own that is exactly their box; crowd regions do not count."""
    annotations = data.annotations()
    rows = (annotations.has_mask & ~annotations.iscrowd & ~annotations.taught).nonzero()[0].tolist()
    found: Counter[int] = Counter()
    with Progress(len(rows), f"checking masks of {data.path.name}", "masks") as bar:
        for row in rows:
            annotation = annotations[row]
            image = data.image(annotation.image_id)
            if is_its_box(annotation.segmentation, annotation.box_xyxy, height=image.height, width=image.width):
                found[annotation.label] += 1
            bar.update()
    return found


def is_its_box(segmentation: object, box_xyxy: _Box, *, height: int, width: int) -> bool:
    """Tell whether a sound mask is the same rectangle as its box, to a pixel.

    Args:
        segmentation: Polygons or RLE, as in the annotation; not absent.
        box_xyxy: In pixels, inside the image.
    """
    if isinstance(segmentation, Sequence):
        polygons = [polygon for polygon in segmentation if len(polygon) >= SHORTEST_POLYGON]
        return len(polygons) == 1 and _runs_along(polygons[0], box_xyxy, height, width)
    rle = segmentation_to_rle(segmentation, height, width)
    x, y, w, h = coco_mask.toBbox(rle).tolist()
    return coco_mask.area(rle) == w * h and _near((x, y, x + w, y + h), box_xyxy)


def _runs_along(polygon: Sequence[float], box: _Box, height: int, width: int) -> bool:
    """Whether each point lies on a side of the box, and each corner of the box is a point.

    Most polygons are known to be none at their first point, so that a data set of a million is read in seconds.
    """
    x1, y1, x2, y2 = box
    reach_x, reach_y = _reach(x2 - x1), _reach(y2 - y1)
    corners = set()
    for x, y in zip(polygon[0::2], polygon[1::2], strict=True):
        x, y = min(max(x, 0.0), width), min(max(y, 0.0), height)  # boxes are clipped to the image too
        left, right = abs(x - x1) <= reach_x, abs(x - x2) <= reach_x
        top, bottom = abs(y - y1) <= reach_y, abs(y - y2) <= reach_y
        if not (left or right or top or bottom):
            return False
        corners |= {(side, end) for side, is_x in enumerate((left, right)) if is_x
                    for end, is_y in enumerate((top, bottom)) if is_y}  # fmt: skip
    return len(corners) == 4


def _near(box: _Box, other: _Box) -> bool:
    reaches = _reach(other[2] - other[0]), _reach(other[3] - other[1])
    return all(abs(a - b) <= reach for a, b, reach in zip(box, other, reaches * 2, strict=True))


def _reach(side: float) -> float:
    return min(_TOLERANCE, _PER_SIDE * side)
