"""An annotated file with names of every kind, and its photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskx_pipeline.annotate.quality import AnnotationQuality
from maskx_pipeline.annotate.reliability import MaskScore
from maskx_pipeline.annotate.review_folder import write_review

EVIL = "</script><img src=x onerror=\"document.title='broken'\">"
NAMES = {1: EVIL, 2: "=2+3", 3: "猫 & co"}
FILES = ("a.png", "=1.png", "it's <b>&.png")
SIZE = 100
BOX = [20, 30, 40, 20]
MASKS = 60
SQUARE = [[20, 30, 60, 30, 60, 50, 20, 50]]
PARTS = [[20, 30, 30, 30, 30, 50], [40, 30, 50, 30, 50, 40]]
RING = {"size": [SIZE, SIZE], "counts": [2030, 20, 80, 6, 8, 6, 80, 20, 7750]}


def write_annotated(folder: Path) -> Path:
    """Masks 1 to 60 of falling confidence, of three categories in turn; 61 to 63 are boxes without; 64 a person's."""
    images = [{"id": n, "file_name": name, "width": SIZE, "height": SIZE} for n, name in enumerate(FILES, start=1)]
    for name in FILES:
        (folder / "images").mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    entries: list[dict[str, Any]] = []
    for number in range(1, MASKS + 5):
        entry = {"id": number, "image_id": 1 + number % 3, "category_id": 1 + number % 3, "bbox": BOX, "area": 800}
        filled = {"mask_confidence": round(1 - number / 100, 2), "mask_source": "maskx:m#1"}
        shape: Any = {2: PARTS, 6: RING}.get(number, SQUARE)
        if number <= MASKS:
            entry |= {"segmentation": shape, **filled}
        elif number == MASKS + 4:
            entry["segmentation"] = SQUARE
        entries.append(entry | {"iscrowd": 0})
    path = folder / "annotated.json"
    categories = [{"id": number, "name": name} for number, name in NAMES.items()]
    path.write_text(json.dumps({"images": images, "annotations": entries, "categories": categories}))
    return path


def quality(*, unseen: bool = True) -> AnnotationQuality:
    """Two steps of confidence for each kind."""
    kinds = (True, False) if unseen else (True,)
    scores = [
        MaskScore(EVIL, seen, iou, c) for seen in kinds for c, iou in ((0.55, 0.4), (0.95, 0.8 - 0.2 * (not seen)))
    ]
    return AnnotationQuality(
        model="m", dataset=f"val{EVIL}.json", scores=tuple(scores), categories=(EVIL,), unreadable=()
    )


def review(folder: Path, **options: Any) -> Path:
    """Write the review of the file in the folder."""
    values: dict[str, Any] = {"quality": quality(), "limit": 2000}
    write_review(
        folder / "review",
        folder / "annotated.json",
        folder / "images",
        without={MASKS + 1: 0.25, MASKS + 2: 0.0},
        unreadable={FILES[0]},
        seen_names={EVIL, "=2+3"},
        **(values | options),
    )
    return folder / "review"
