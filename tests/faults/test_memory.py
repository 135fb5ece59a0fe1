"""What stays small: reading a large annotation file to fill it, and many objects in one image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

_PEAK = """
import sys
def status(key):
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1])
def begin():
    with open("/proc/self/clear_refs", "w") as stream:
        stream.write("5")  # the peak is what is held now
    return status("VmRSS")
def peak(before):
    return status("VmHWM") - before
"""

_FILL = """
import io
from pathlib import Path
from maskx_pipeline.annotate.mask_gaps import find_mask_gaps
from maskx_pipeline.data import annotation_file
from maskx_pipeline.data.coco import read_coco
annotation_file.SMALLEST_INDEXED = 0
path = Path(sys.argv[1])
data = read_coco(path, path.parent, keep_missing=True)
before = begin()
gaps = find_mask_gaps(data, labels={1: 1})
work = list(gaps.work)
with open(os.devnull, "wb") as stream:
    gaps.write(stream, lambda row: {"segmentation": [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]})
print(peak(before), len(gaps.rows))
"""

_REVIEW = """
from pathlib import Path
from maskx_pipeline.annotate.review_folder import write_review
from maskx_pipeline.data import annotation_file
annotation_file.SMALLEST_INDEXED = 0
path = Path(sys.argv[1])
folder = path.parent / "review"
before = begin()
write_review(
    folder, path, path.parent, without={}, unreadable=(), seen_names={"a"}, quality=None, limit=10
)
print(peak(before), len((folder / "worklist.csv").read_text().splitlines()) - 1)
"""

_STEP = """
import torch
from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.model import build_detector, detector_arguments
torch.manual_seed(0)
torch.set_num_threads(1)
side, count = int(sys.argv[1]), int(sys.argv[2])
config = DetectConfig(
    backbone="resnet18", backbone_weights="none", fpn_channels=8, box_head_dim=16, min_size=side, max_size=side,
    rpn_pre_nms=50, rpn_post_nms=20,
)
detector = build_detector(num_classes=2, **detector_arguments(config)).train()
def step(objects):
    corner = torch.rand(objects, 2) * (side - 40)
    target = {"boxes": torch.cat([corner, corner + 8 + 30 * torch.rand(objects, 2)], 1)}
    target["labels"] = torch.ones(objects, dtype=torch.int64)
    sum(detector([torch.rand(3, side, side)], [target]).values()).backward()
step(4)
before = begin()
step(4)
few = peak(before)
before = begin()
step(count)
print(peak(before) - few)
"""


def _measure(program: str, *arguments: object) -> list[int]:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not tell the peak of a part of a process")
    done = subprocess.run(
        [sys.executable, "-c", f"import os\n{_PEAK}{program}", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(Path(arguments[0]).parent) if len(arguments) == 1 else "/nonexistent"},
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def _write_large(folder: Path, more: Mapping[str, Any]) -> Path:
    """30,000 annotations, a third of them without a mask, or with ``more`` and a mask."""
    side = [10.25 + 2 * step for step in range(20)]
    polygon = [[x for at in side for x in (at, 10.5)] + [x for at in reversed(side) for x in (at, 60.5)]]
    images = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 100} for i in range(1, 2001)]
    entries = [
        {"id": n, "image_id": 1 + n % 2000, "category_id": 1, "bbox": [9, 9, 80, 80], "area": 9.0}
        | ({"segmentation": polygon} if n % 3 or more else {})
        | ({} if n % 3 else more)
        for n in range(30_000)
    ]
    path = folder / "large.json"
    path.write_text(json.dumps({"images": images, "annotations": entries, "categories": [{"id": 1, "name": "a"}]}))
    return path


def test_filling_a_file_holds_a_part_of_it(tmp_path: Path) -> None:
    """Columns and places, not the objects of its JSON, which take a dozen times its bytes."""
    path = _write_large(tmp_path, {})
    held, filled = _measure(_FILL, path)
    assert filled == 10_000
    assert held < 2 * path.stat().st_size, (held, path.stat().st_size)  # the objects of its JSON take a dozen times it


def test_the_table_and_the_review_of_a_filled_file_hold_a_part_of_it(tmp_path: Path) -> None:
    """As ``--review`` and ``--second-opinion`` want them: of each mask what the table says, not its outline."""
    said = {"mask_confidence": 0.5, "mask_agreement": 0.25, "second_opinion": "teacher:t#1", "mask_source": "maskx:m#1"}
    path = _write_large(tmp_path, said)
    held, listed = _measure(_REVIEW, path)
    assert listed == 10_000
    assert held < 2 * path.stat().st_size, (held, path.stat().st_size)


@pytest.mark.parametrize(
    ("side", "count", "most"), [(320, 600, 300e6), pytest.param(800, 1500, 1e9, marks=pytest.mark.slow)]
)
def test_many_objects_in_an_image_take_little_more_than_few(side: int, count: int, most: float) -> None:
    """Anchors are matched with some objects at a time."""
    (more,) = _measure(_STEP, side, count)
    print(f"{count} objects in {side} x {side} pixels: {more / 1e6:.0f} MB more than 4")  # noqa: T201
    assert more < most
