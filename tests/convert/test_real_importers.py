"""Datumaro, Label Studio's converter, Ultralytics and pycocotools take what maskx writes for them.

On everything that trips them up: a null, crowds, an RLE with a hole, `&` in a name.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from formats_world import NAMES, maskx, write_dataset
from importers import DATUMARO, ULTRALYTICS, environment, told_by
from pycocotools.coco import COCO

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def datumaro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Which wants an older OpenCV and Pillow; CVAT imports COCO files by a Datumaro of its own."""
    return environment(tmp_path_factory, "datumaro>=1.10")


def handed_over(folder: Path, tool: str) -> Path:
    """The small data set: a null, crowds, an RLE with a hole, `&` in a name."""
    path = write_dataset(folder)
    if tool == "voc":  # in its labelmap.txt a colon ends a name
        path.write_text(path.read_text(encoding="utf-8").replace(': <b>"', ' <b>"'), encoding="utf-8")
    maskx("convert", "to", tool, str(path), "--images", str(folder / "images"))
    return folder / f"boxes-for-{tool}"


@pytest.mark.parametrize(
    ("tool", "kind", "boxes", "masks"),
    [("datumaro", "coco_instances", 7, 4), ("cvat", "coco_instances", 7, 4), ("voc", "voc", 5, 3)],
)
def test_datumaro_imports_all(tmp_path: Path, datumaro: Path, tool: str, kind: str, boxes: int, masks: int) -> None:
    """Crowds too, where the format has them; before the rule about nulls it refused the whole file."""
    folder = handed_over(tmp_path, tool)
    if tool == "cvat":  # its own Datumaro takes a file from anywhere, this one wants COCO's folders
        (folder / "annotations").mkdir()
        (folder / "train.json").rename(folder / "annotations" / "instances_train.json")
        (tmp_path / "images").rename(folder / "images-of-train")
        (folder / "images").mkdir()
        (folder / "images-of-train").rename(folder / "images" / "train")
    found = told_by(datumaro / "python", DATUMARO, folder, kind)
    names = [name.replace(": <b>", " <b>") if tool == "voc" else name for name in NAMES]
    assert [name for name in found["labels"] if name != "background"] == names
    assert (found["images"], found["boxes"], found["masks"]) == (3, boxes, masks)


def test_datumaro_refuses_a_null(tmp_path: Path, datumaro: Path) -> None:
    """Why there is a rule: else this test may go, and the rule with it."""
    folder = handed_over(tmp_path, "datumaro")
    path = folder / "annotations" / "instances_train.json"
    path.write_text(path.read_text().replace('"segmentation": []', '"segmentation": null', 1))
    done = subprocess.run(
        [datumaro / "python", "-c", DATUMARO, folder, "coco_instances"], capture_output=True, check=False
    )
    assert done.returncode != 0


def test_label_studio_converts_all_and_its_configuration_is_ours(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A task of each image; polygons, boxes, names as they are; and the tags that our configuration names."""
    programs = environment(tmp_path_factory, "label-studio-sdk")
    folder = handed_over(tmp_path, "label-studio")
    command = [programs / "label-studio-converter", "import", "coco", "-i", folder / "train.json"]
    done = subprocess.run([*command, "-o", tmp_path / "tasks.json"], capture_output=True, text=True, check=True)
    assert "ERROR" not in done.stderr
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    results = [result for task in tasks for made in task["annotations"] for result in made["result"]]
    kinds = [result["type"] for result in results]
    assert (len(tasks), kinds.count("rectanglelabels"), kinds.count("polygonlabels")) == (3, 5, 4)
    root = ElementTree.parse(folder / "label-config.xml").getroot()
    tags = {tag.get("name"): {label.get("value") for label in tag} for tag in root if tag.get("toName")}
    for result in results:
        assert result["value"][result["type"]][0] in tags[result["from_name"]]
        assert result["to_name"] == "image"


def test_ultralytics_loads_all_to_train_segmentation_on(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No image is dropped as corrupt, and each box has a segment."""
    programs = environment(tmp_path_factory, "ultralytics", beside_ours=True)
    folder = handed_over(tmp_path, "ultralytics")
    found = told_by(programs / "python", ULTRALYTICS, folder / "data.yaml", YOLO_CONFIG_DIR=str(tmp_path))
    assert (found["images"], found["boxes"], found["segments"]) == (3, 5, 5)
    assert list(found["names"].values()) == list(NAMES)


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
def test_pycocotools_reads_all(tmp_path: Path, tool: str) -> None:
    """Every mask can be drawn."""
    coco = COCO(str(handed_over(tmp_path, tool) / "train.json"))
    areas = [coco.annToMask(entry).sum() for entry in coco.anns.values() if entry["segmentation"]]
    assert sorted(areas) == ([4, 100, 116, 128] if tool == "cvat" else [100, 116, 144])
