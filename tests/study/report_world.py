"""A study of two evaluated runs on tiny images, with names that would break a page; nothing in it was trained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.evaluation.evaluate import evaluate_results, write_results

NAMES = {
    3: "<script>document.title='broken'</script>",
    5: "cups/\"quoted\" & 'more'",
    8: "北京 ключ é",
    9: "$x_1$ 100%",
    12: "plain",
}
SEEN_IDS = (3, 12)
WORSE_ID = 12
"""The category whose masks the baseline has right and the other run wrong."""
EMPTY_ID = 9
"""The category of no object in val."""
T_NAME = 't<b>"&x'
IMAGE_NAME = "\"><img src=x onerror=document.title='broken'>{}.png"
WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True)
class Study:
    """A project folder with a maskx.toml, and the run folders in it."""

    project: Path
    baseline: Path
    transfer: Path
    val: CocoData


def make_study(folder: Path) -> Study:
    """Three images with an object of each of four categories; masks are triangles, wrong ones are whole boxes."""
    val = _write_val(folder)
    (folder / "maskx.toml").write_text('[data]\nval-images = "val"\nval-annotations = "val.json"\n', encoding="utf-8")
    detector = open_run(
        folder / "runs" / "detector", stage="detect", identity={}, config={"lr": 0.5}, inputs={}, command="maskx detect"
    )
    detector.finish()
    baseline = write_run(folder / "runs" / "transfer" / "agnostic", val, right=[WORSE_ID], embedding="none")
    transfer = write_run(
        folder / "runs" / "transfer" / T_NAME, val, right=[i for i in NAMES if i != WORSE_ID], embedding="cls"
    )
    return Study(folder, baseline, transfer, val)


def write_run(
    folder: Path,
    val: CocoData,
    *,
    right: list[int],
    seen: tuple[int, ...] = SEEN_IDS,
    score: float = 0.9,
    **settings: Any,
) -> Path:
    """An evaluated run that segments the categories ``right`` as they are, and all others as their boxes."""
    config = TransferConfig(name=folder.name, **settings).to_mapping()
    run = open_run(
        folder,
        stage="fit-transfer",
        identity={},
        config=config,
        inputs={"cache": "c" * 64},
        command=f"maskx fit {folder.name}",
    )
    run.update(
        seen=list(seen),
        categories=[{"id": id_, "name": name} for id_, name in NAMES.items()],
        detector="../../detector",
    )
    for step in range(20, 320, 20):
        run.log(step, mask_loss=1 / step, loss=1 / step)
    run.log(300, seen_mask_ap=10.0, unseen_mask_ap=5.0, seen_mask_iou=0.5)
    run.finish()
    evaluation = open_run(
        folder / "evaluation" / "cache-best",
        stage="evaluate",
        identity={"from": "cache", "weights": "d" * 64},
        config={},
        inputs={"val annotations": val.digest},
    )
    results = [_detection(val, annotation, annotation.label, right, score) for annotation in val.annotations()]
    write_results(evaluation.folder / "results.json", results)
    everything = [category.label for category in val.categories]
    labels = [val.label_of_id(id_) for id_ in seen]
    evaluate_results(results, val, split="all", labels=everything, seen=labels, model=folder).write(evaluation.folder)
    evaluation.finish()
    return folder


def _detection(val: CocoData, annotation: Any, label: int, right: list[int], score: float) -> dict[str, Any]:
    id_ = val.category(label).id
    x1, y1, x2, y2 = annotation.box_xyxy
    polygon = triangle(x1, y1, x2, y2) if id_ in right else [[x1, y1, x2, y1, x2, y2, x1, y2]]
    rle = coco_mask.merge(coco_mask.frPyObjects(polygon, HEIGHT, WIDTH))
    rle["counts"] = rle["counts"].decode("ascii")
    box = [x1, y1, x2 - x1, y2 - y1]
    return {
        "image_id": annotation.image_id, "category_id": id_, "bbox": box,
        "score": score - 0.01 * annotation.image_id, "segmentation": rle,
    }  # fmt: skip


def triangle(x1: float, y1: float, x2: float, y2: float) -> list[list[float]]:
    """The lower left half of a box, as polygons."""
    return [[x1, y1, x2, y2, x1, y2]]


def _write_val(folder: Path) -> CocoData:
    generator = np.random.default_rng(0)
    (folder / "val").mkdir(parents=True)
    images, annotations = [], []
    for image_id in (1, 2, 3):
        name = IMAGE_NAME.format(image_id)
        pixels = generator.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / "val" / name)
        images.append({"id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT})
        present = [id_ for id_ in NAMES if id_ != EMPTY_ID]
        # The non-Latin category is only in the first image.
        for place, id_ in enumerate(id_ for id_ in present if id_ != 8 or image_id == 1):
            x, y, side = 4.0 + 30 * (place % 2), 2.0 + 22 * (place // 2), 20.0
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image_id, "category_id": id_, "bbox": [x, y, side, side],
                    "segmentation": triangle(x, y, x + side, y + side), "area": side * side / 2, "iscrowd": 0,
                }
            )  # fmt: skip
    categories = [{"id": id_, "name": name} for id_, name in NAMES.items()]
    path = folder / "val.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return read_coco(path, folder / "val")
