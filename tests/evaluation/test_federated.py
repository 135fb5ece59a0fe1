"""AP where only some categories were looked for in an image, as LVIS measures it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.evaluation.coco_ap import average_precision, precision_table

SIDE = 100


def write(path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: int = 2) -> Path:
    """An annotation file of squares."""
    content = {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": SIDE, "height": SIDE, **image}
            for number, image in enumerate(images, start=1)
        ],
        "categories": [{"id": number, "name": f"c{number}", "frequency": "f"} for number in range(1, categories + 1)],
        "annotations": [
            {"id": number, "area": a["bbox"][2] * a["bbox"][3], "iscrowd": 0, **a}
            for number, a in enumerate(annotations, start=1)
        ],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def ap(path: Path, results: list[dict[str, Any]], label: int = 1) -> float:
    data = read_coco(path, path.parent, check_files=False)
    return average_precision(data, results, labels=[label], iou_type="bbox").ap


def found(image: int, score: float, box: tuple[int, int, int, int], category: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "score": score, "bbox": list(box)}


def test_a_category_is_measured_where_it_was_looked_for(tmp_path: Path) -> None:
    """A false detection of a higher score halves precision in an image known to have none, and nowhere else.

    Image 1 has the object, 2 is known to have none, of 3 nothing is known.
    """
    here, wrong = (10, 10, 20, 20), (50, 50, 20, 20)
    objects = [{"image_id": 1, "category_id": 1, "bbox": list(here)}]
    known = write(tmp_path / "known.json", [{"neg_category_ids": []}, {"neg_category_ids": [1]}, {}], objects)
    right = found(1, 0.5, here)
    assert ap(known, [right]) == pytest.approx(100)
    assert ap(known, [right, found(3, 0.9, wrong)]) == pytest.approx(100)
    assert ap(known, [right, found(2, 0.9, wrong)]) == pytest.approx(50)
    assert ap(known, [right, found(1, 0.9, wrong)]) == pytest.approx(50)
    silent = write(tmp_path / "silent.json", [{}, {}, {}], objects)
    assert ap(silent, [right, found(3, 0.9, wrong)]) == pytest.approx(50), "else all was looked for everywhere"


def test_where_not_all_objects_are_annotated_what_matches_nothing_is_ignored(tmp_path: Path) -> None:
    """It may be one of those that nobody annotated; of another category it counts."""
    here, wrong = (10, 10, 20, 20), (50, 50, 20, 20)
    objects = [
        {"image_id": 1, "category_id": 1, "bbox": list(here)},
        {"image_id": 1, "category_id": 2, "bbox": [*here]},
    ]
    images = [{"neg_category_ids": [], "not_exhaustive_category_ids": [1]}]
    path = write(tmp_path / "a.json", images, objects)
    results = [found(1, 0.5, here, c) for c in (1, 2)] + [found(1, 0.9, wrong, c) for c in (1, 2)]
    assert [ap(path, results, label) for label in (1, 2)] == pytest.approx([100, 50])


def federated_data(folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Thirty images at random, with results that hit and miss."""
    generator = np.random.default_rng(1)
    images, annotations, results = [], [], []
    for number in range(1, 31):
        positive = set(generator.choice(range(1, 5), size=generator.integers(0, 3), replace=False).tolist())
        absent = [c for c in range(1, 5) if c not in positive and generator.random() < 0.5]
        images.append({
            "neg_category_ids": absent,
            "not_exhaustive_category_ids": [c for c in positive if generator.random() < 0.4],
        })  # fmt: skip
        for category in positive:
            for _ in range(generator.integers(1, 4)):
                box = [*generator.uniform(0, 60, 2), *generator.uniform(5, 40, 2)]
                annotations.append({"image_id": number, "category_id": category, "bbox": box, "segmentation": []})
                moved = [float(side) for side in np.array(box) + generator.normal(0, 2, 4)]
                results.append({"image_id": number, "category_id": category, "score": float(generator.random()),
                                "bbox": [*moved[:2], *np.maximum(moved[2:], 1).tolist()]})  # fmt: skip
        for category in range(1, 5):
            box = (int(generator.integers(0, 70)), int(generator.integers(0, 70)), 30, 30)
            results.append(found(number, float(generator.random()), box, category))
    return write(folder / "federated.json", images, annotations, categories=4), results


LVIS_PROGRAM = """
import json, sys
import numpy
numpy.float = float  # of which the library is still fond
from lvis import LVIS, LVISEval, LVISResults
evaluation = LVISEval(sys.argv[1], LVISResults(LVIS(sys.argv[1]), sys.argv[2]), "bbox")
evaluation.run()
print(json.dumps({key: float(value) for key, value in evaluation.get_results().items()}))
"""


@pytest.mark.slow
def test_ap_equals_that_of_the_lvis_library(tmp_path: Path) -> None:
    """To the last digits; its limit of 300 detections of an image is not reached."""
    venv.create(tmp_path / "lvis", with_pip=True)
    python = tmp_path / "lvis" / "bin" / "python"
    packages = next((tmp_path / "lvis" / "lib").glob("python*")) / "site-packages"
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n" + "\n".join(p for p in sys.path if p))
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "lvis"]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"lvis cannot be installed here: {installed.stderr[-500:]}")
    path, results = federated_data(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "program.py").write_text(LVIS_PROGRAM)
    done = subprocess.run(
        [python, tmp_path / "program.py", path, tmp_path / "results.json"], capture_output=True, text=True, check=True
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    data = read_coco(path, tmp_path, check_files=False)
    ours = precision_table(data, results, labels=[1, 2, 3, 4], iou_type="bbox").summary([1, 2, 3, 4])
    assert 5 < ours.ap < 80
    assert (ours.ap, ours.ap50, ours.ap75, ours.ap_small, ours.ap_medium) == pytest.approx(
        [100 * theirs[key] for key in ("AP", "AP50", "AP75", "APs", "APm")], rel=1e-12
    )
