"""Programs that read what maskx wrote with other libraries, each in an environment of its own.

They want other versions of Pillow, OpenCV and NumPy than maskx.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

DATUMARO = """
import collections, json, sys
import datumaro
dataset = datumaro.Dataset.import_from(sys.argv[1], sys.argv[2])
labels = [label.name for label in dataset.categories()[datumaro.AnnotationType.label]]
found = collections.Counter()
objects = {}
for item in dataset:
    item.media.data.shape
    for shape in item.annotations:
        key = (item.id, labels[shape.label], shape.group or shape.id)
        objects.setdefault(key, set()).add(shape.type.name)
        found[shape.type.name] += 1
masks = sum(bool(kinds - {"bbox", "label"}) for kinds in objects.values())
print(json.dumps({"images": len(dataset), "boxes": found["bbox"], "masks": masks, "labels": labels}))
"""

ULTRALYTICS = """
import json, sys
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset
data = check_det_dataset(sys.argv[1])
dataset = YOLODataset(img_path=data["train"], data=data, task="segment", augment=False, imgsz=64)
boxes = [len(label["bboxes"]) for label in dataset.labels]
segments = [len(label["segments"]) for label in dataset.labels]
shapes = [list(dataset[place]["masks"].shape) for place in range(len(dataset))]
print(json.dumps({"images": len(dataset), "boxes": sum(boxes), "segments": sum(segments), "names": data["names"]}))
"""


_made: dict[str, Path] = {}


def environment(tmp_path_factory: pytest.TempPathFactory, package: str, *, beside_ours: bool = False) -> Path:
    """The folder of the programs of an environment with a package, made once; skips where there is no registry.

    Args:
        beside_ours: What the package needs and we have, such as torch, is not installed again.
    """
    if package not in _made:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, with_pip=True)
        if beside_ours:
            packages = next((folder / "lib").glob("python*")) / "site-packages"
            lines = [sysconfig.get_path("purelib"), *(path for path in sys.path if "site-packages" in path)]
            (packages / "ours.pth").write_text("\n".join(lines))
        command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{package} cannot be installed here: {done.stderr[-500:]}")
        _made[package] = folder / "bin"
    return _made[package]


def told_by(python: Path, program: str, *words: str | Path, **variables: str) -> dict[str, Any]:
    """The JSON of the last line that a program prints."""
    done = subprocess.run(
        [python, "-c", program, *words], capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
