"""AP of COCO results: maskx beside pycocotools, on generated data; all numbers are compared to the last digit.

Both begin with an annotation file that is open and results in memory, as they come from a model, and end with the
precision of every category. Making the data is not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from side_by_side import print_machine, print_table, side_by_side

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.evaluation.coco_ap import IouType, Result, precision_table

HEIGHT, WIDTH = 480, 640
OBJECTS = 7  # per image, as in COCO
_CORNERS = 16


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="per image")
    parser.add_argument("--categories", type=int, default=80)
    parser.add_argument("--of", nargs="+", choices=("bbox", "segm"), default=["bbox", "segm"], help="boxes, masks")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    print_machine()
    rows = compare(
        images=arguments.images,
        detections=arguments.detections,
        categories=arguments.categories,
        repeats=arguments.repeats,
        iou_types=arguments.of,
    )
    print_table(["AP of", "maskx, s", "pycocotools, s", "ratio", "differing numbers", "AP"], rows)


def compare(
    *,
    images: int,
    detections: int,
    categories: int,
    repeats: int,
    iou_types: Sequence[IouType] = ("bbox", "segm"),
) -> list[list[str]]:
    """Time boxes and masks; a row for each."""
    truth, results = make_data(images=images, detections=detections, categories=categories)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "val.json"
        file.write_text(json.dumps(truth))
        data = read_coco(file, Path(folder), check_files=False)
        for iou_type in iou_types:
            found: dict[str, NDArray[np.float64]] = {}

            def ours(iou_type: IouType = iou_type, found: dict[str, NDArray[np.float64]] = found) -> None:
                labels = range(1, categories + 1)
                found["ours"] = precision_table(data, results, labels=labels, iou_type=iou_type).precision

            def reference(iou_type: IouType = iou_type, found: dict[str, NDArray[np.float64]] = found) -> None:
                found["reference"] = by_pycocotools(truth, results, iou_type)

            measured = side_by_side(ours, reference, repeats=repeats, warm_up=0)
            differing = int((found["ours"] != found["reference"]).sum())
            everywhere = found["reference"][..., 0]
            mean = 100 * float(everywhere[everywhere > -1].mean())
            name = "boxes" if iou_type == "bbox" else "masks"
            rows.append([name, *measured.cells(unit=1), f"{differing} of {found['ours'].size}", f"{mean:.2f}"])
    return rows


def by_pycocotools(truth: dict[str, Any], results: list[Result], iou_type: IouType) -> NDArray[np.float64]:
    """The precision [10, 101, K, 4] that pycocotools gives."""
    unused = "bbox" if iou_type == "segm" else "segmentation"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {**truth, "annotations": copy.deepcopy(truth["annotations"])}  # pycocotools writes into it
        coco.createIndex()
        own = [{key: value for key, value in result.items() if key != unused} for result in results]
        evaluation = COCOeval(coco, coco.loadRes(own), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"][..., -1]
    return precision


def make_data(*, images: int, detections: int, categories: int) -> tuple[dict[str, Any], list[Result]]:
    """Objects of polygons, and results with RLE: a good, a fair and a poor one for each object, the rest anywhere."""
    generator = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    results: list[Result] = []
    for image_id in range(1, images + 1):
        places = _places(generator, OBJECTS)
        labels = generator.integers(1, categories + 1, OBJECTS)
        for polygon, label in zip(_polygons(generator, places), labels.tolist(), strict=True):
            annotations.append(_annotation(len(annotations) + 1, image_id, label, polygon))
        copies = np.repeat(places, 3, axis=0)
        sides = np.concatenate([copies[:, 2:], copies[:, 2:]], axis=1)
        copies += sides * generator.normal(0, 1, copies.shape) * np.tile([0.03, 0.1, 0.3], OBJECTS)[:, None]
        others = max(0, detections - len(copies))
        boxes = np.concatenate([copies, _places(generator, others)])[:detections]
        boxes[:, 2:] = boxes[:, 2:].clip(min=2)
        named = np.concatenate([np.repeat(labels, 3), generator.integers(1, categories + 1, others)])[:detections]
        rles = coco_mask.frPyObjects(_polygons(generator, boxes), HEIGHT, WIDTH)
        scores = generator.random(detections) ** np.where(np.arange(detections) < len(copies), 1, 3)
        for box, label, score, rle in zip(boxes.tolist(), named.tolist(), scores.tolist(), rles, strict=True):
            mask = {"size": rle["size"], "counts": rle["counts"].decode()}
            results.append(
                {"image_id": image_id, "category_id": label, "bbox": box, "score": score, "segmentation": mask}
            )
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "height": HEIGHT, "width": WIDTH}
            for number in range(1, images + 1)
        ],
        "categories": [{"id": number, "name": f"category {number}"} for number in range(1, categories + 1)],
        "annotations": annotations,
    }, results


def _annotation(number: int, image_id: int, label: int, polygon: list[float]) -> dict[str, Any]:
    xs, ys = np.array(polygon[0::2]), np.array(polygon[1::2])
    box = [float(xs.min()), float(ys.min()), float(np.ptp(xs)), float(np.ptp(ys))]
    area = abs(float(np.dot(xs, np.roll(ys, 1)) - np.dot(ys, np.roll(xs, 1)))) / 2
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label,
        "bbox": box,
        "area": area,
        "iscrowd": 0,
        "segmentation": [polygon],
    }


def _places(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Boxes x, y, w, h inside the image, of sides from 8 to 320 pixels."""
    sides = np.exp(generator.uniform(np.log(8), np.log(320), (count, 2)))
    corners = generator.random((count, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    return np.concatenate([corners, sides], axis=1)


def _polygons(generator: np.random.Generator, boxes_xywh: NDArray[np.float64]) -> list[list[float]]:
    """A wobbly round thing in each box."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    reach = generator.uniform(0.8, 1, (len(boxes_xywh), _CORNERS)) / 2
    x, y, width, height = (column[:, None] for column in boxes_xywh.T)
    xs, ys = x + width * (0.5 + reach * np.cos(angles)), y + height * (0.5 + reach * np.sin(angles))
    points: list[list[float]] = np.stack([xs.clip(0, WIDTH), ys.clip(0, HEIGHT)], axis=-1).reshape(len(x), -1).tolist()
    return points


if __name__ == "__main__":
    main()
