"""A generated annotation file as large as COCO train2017: for measuring how fast it opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

IMAGES, ANNOTATIONS, CATEGORIES = 118_287, 860_001, 80

_POINTS = 22.0
"""Mean corners of a polygon beyond the third, so that the file is as large as COCO's own (450 MB)."""


def write_annotations(path: Path, *, images: int = IMAGES, annotations: int = ANNOTATIONS, seed: int = 0) -> None:
    """Write a file in which each object has a polygon with two decimals, as in COCO; one in 90 is a crowd with RLE."""
    generator = np.random.default_rng(seed)
    widths, heights = generator.integers(400, 641, images), generator.integers(320, 641, images)
    owners = generator.integers(0, images, annotations)
    with path.open("w", encoding="ascii") as stream:
        stream.write('{"info": {"description": "generated"}, "images": [')
        for number in range(images):
            record = {
                "license": 1, "file_name": f"{number + 1:012d}.jpg", "coco_url": f"http://images/{number + 1:012d}.jpg",
                "height": int(heights[number]), "width": int(widths[number]), "id": number + 1,
            }  # fmt: skip
            stream.write((", " if number else "") + json.dumps(record))
        stream.write('], "annotations": [')
        for number in range(annotations):
            owner = owners[number]
            entry = _entry(generator, int(widths[owner]), int(heights[owner]), crowd=number % 90 == 89)
            entry |= {"image_id": int(owner) + 1, "category_id": int(generator.integers(1, CATEGORIES + 1))}
            stream.write((", " if number else "") + json.dumps(entry | {"id": number + 1}))
        stream.write('], "categories": ')
        json.dump([{"supercategory": "thing", "id": i, "name": f"thing {i}"} for i in range(1, CATEGORIES + 1)], stream)
        stream.write("}")


def _entry(generator: np.random.Generator, width: int, height: int, *, crowd: bool) -> dict[str, object]:
    corners = 3 + int(generator.exponential(_POINTS))
    angles = np.sort(generator.random(corners)) * 2 * np.pi
    radius = generator.uniform(5, min(width, height) / 2, 1)
    x = generator.uniform(radius, width - radius) + radius * np.cos(angles)
    y = generator.uniform(radius, height - radius) + radius * np.sin(angles)
    points = np.round(np.stack([x, y], axis=1).ravel(), 2)
    left, top = float(points[0::2].min()), float(points[1::2].min())
    box = [left, top, float(points[0::2].max()) - left, float(points[1::2].max()) - top]
    box = [round(max(side, 0.1), 2) for side in box]
    segmentation: object = [points.tolist()]
    if crowd:
        cuts = np.sort(generator.choice(width * height, 2 * corners, replace=False))
        runs = np.diff(np.concatenate(([0], cuts, [width * height])))
        segmentation = {"counts": runs.tolist(), "size": [height, width]}
    return {"segmentation": segmentation, "area": round(box[2] * box[3] * 0.7, 4), "iscrowd": int(crowd), "bbox": box}
