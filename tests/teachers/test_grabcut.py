"""GrabCut masks of boxes, and the training set made of them."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.config import GrabCutConfig
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.errors import DataError, MachineError, OutputError
from maskx_pipeline.teachers.grabcut import GrabCut
from maskx_pipeline.teachers.grabcut_annotations import read_grabcut_report, write_grabcut_annotations

DISC, RING_BOX = (20.0, 12.0, 40.0, 32.0), [18, 10, 24, 24]


def picture() -> np.ndarray:
    """A red disc on dark noise, uint8 [48, 64, 3]; its box is DISC."""
    pixels = np.random.default_rng(0).integers(0, 60, (48, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:48, :64] + 0.5
    pixels[(x - 30) ** 2 + (y - 22) ** 2 <= 100] = (220, 40, 40)
    return pixels


def decoded(mask: Any) -> np.ndarray:
    return coco_mask.decode(mask.segmentation).astype(bool)


@pytest.fixture
def train(tmp_path: Path) -> CocoData:
    """Two images of the disc; in the second the box is the whole image. One crowd, one object without area."""
    folder = tmp_path / "train"
    folder.mkdir()
    for number in (1, 2):
        Image.fromarray(picture()).save(folder / f"{number}.png")
    true_mask = [[20, 12, 40, 12, 40, 32]]
    entries = [
        {"id": 7, "image_id": 2, "category_id": 3, "bbox": [0, 0, 64, 48], "note": "ä", "area": 1.5},
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": RING_BOX, "segmentation": true_mask, "iscrowd": 0},
        {"id": 4, "image_id": 1, "category_id": 3, "bbox": RING_BOX, "segmentation": true_mask, "iscrowd": 1},
        {"id": 5, "image_id": 1, "category_id": 3, "bbox": [5, 5, 0, 0], "segmentation": true_mask, "iscrowd": 0},
    ]
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48, "license": n} for n in (1, 2)]
    content = {
        "info": {"year": 1},
        "images": images,
        "annotations": entries,
        "categories": [{"id": 3, "name": "disc"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    return read_coco(tmp_path / "train.json", folder)


def test_the_foreground_of_a_box_is_what_differs_from_the_outside() -> None:
    """A disc on a dark ground is found to the pixel, nearly, from a box with a margin around it."""
    (mask,) = GrabCut(iterations=5, context=0, seed=0).segment(picture(), [(16, 8, 44, 36)])
    disc = picture()[..., 0] == 220
    assert mask.found
    assert (decoded(mask) & disc).sum() / (decoded(mask) | disc).sum() > 0.95


@pytest.mark.parametrize("box", [(0, 0, 64, 48), (-3, -2, 90, 70), (5, 5, 6, 6), (50, 2, 50.2, 2.1)])
def test_a_box_in_which_nothing_is_found_is_taken_whole(box: tuple[float, float, float, float]) -> None:
    """Without any background, or with too few pixels for the colours, there is still a mask: the box."""
    (mask,) = GrabCut(iterations=1, context=0, seed=0).segment(picture(), [box])
    assert not mask.found
    rows, columns = np.nonzero(decoded(mask))
    assert (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) == len(rows) >= 1


def test_a_mask_is_a_function_of_image_and_box_only() -> None:
    """Boxes that were segmented before change nothing, and no mask leaves its box."""
    grabcut = GrabCut(iterations=2, context=0.5, seed=0)
    boxes = [(20, 12, 36, 40), DISC, (2, 3, 30, 20)]
    together = grabcut.segment(picture(), boxes)
    assert together == [grabcut.segment(picture(), [box])[0] for box in boxes]
    outside = decoded(together[1])
    outside[12:32, 20:40] = False
    assert not outside.any()


def test_all_but_the_masks_of_the_objects_stays_as_it_was(train: CocoData, tmp_path: Path) -> None:
    """Keys, ids, order and crowds; an entry that is not read keeps no true mask."""
    out = write_grabcut_annotations(GrabCutConfig(out=tmp_path / "made" / "grabcut.json", workers=2), train)
    before, after = (json.loads(path.read_text()) for path in (train.path, out))
    assert after["annotations"][2] == before["annotations"][2]
    assert "segmentation" not in after["annotations"][3]
    found = coco_mask.decode(after["annotations"][1]["segmentation"])
    assert 250 < found.sum() < 350  # the disc has 314 pixels
    assert coco_mask.area(after["annotations"][0]["segmentation"]) == 64 * 48
    for content in (before, after):
        for number in (0, 1, 3):
            content["annotations"][number].pop("segmentation", None)
    assert list(after) == list(before)
    assert after == before
    report = read_grabcut_report(out)
    assert (report["objects"], report["whole boxes"]) == (2, 1)


def test_the_number_of_threads_changes_nothing(train: CocoData, tmp_path: Path) -> None:
    """The file is the same to the byte."""
    files = [
        write_grabcut_annotations(GrabCutConfig(out=tmp_path / f"{n}.json", workers=n), train).read_bytes()
        for n in (0, 1, 3)
    ]
    assert len(set(files)) == 1


def test_a_written_file_is_left_alone_and_another_is_never_replaced_unasked(train: CocoData, tmp_path: Path) -> None:
    """Same settings and data: nothing to do. Other settings, an edited file, or the training file itself: an error."""
    config = GrabCutConfig(out=tmp_path / "grabcut.json", iterations=1, workers=1)
    write_grabcut_annotations(config, train)
    written = config.out.stat().st_mtime_ns
    write_grabcut_annotations(replace(config, workers=3), train)
    assert config.out.stat().st_mtime_ns == written
    with pytest.raises(OutputError, match="seed: 0 -> 1"):
        write_grabcut_annotations(replace(config, seed=1), train)
    write_grabcut_annotations(replace(config, seed=1), train, overwrite=True)
    config.out.write_text("{}")
    with pytest.raises(OutputError, match="changed since"):
        write_grabcut_annotations(replace(config, seed=1), train)
    with pytest.raises(DataError, match="training annotation file itself"):
        write_grabcut_annotations(replace(config, out=train.path), train, overwrite=True)


def test_an_unreadable_image_leaves_nothing_behind(train: CocoData, tmp_path: Path) -> None:
    """The error names the image; no file is begun."""
    (tmp_path / "train" / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2\.png"):
        write_grabcut_annotations(GrabCutConfig(out=tmp_path / "made" / "grabcut.json"), train)
    assert not (tmp_path / "made").exists()


def test_without_opencv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV is an extra."""

    def refuse(name: str, *others: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MachineError, match="pip install opencv-python-headless"):
        GrabCut(iterations=1, context=0, seed=0)
