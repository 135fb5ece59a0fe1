"""From samples in the formats of other tools to filled masks that these tools import, by the commands of the page."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import generate_samples
import pytest
from docs_runner import run_page
from docs_world import fit_for_longer, make_project, small_settings, train, write_coco
from formats_world import counts, maskx
from generate_samples import Sample
from importers import DATUMARO, ULTRALYTICS, environment, told_by
from pycocotools.coco import COCO

PAGE = "docs/how-to/formats.md"
SETS = {"yolo": "train", "voc": "train", "labelme": "train", "oi": "train", "lvis": "val"}
"""The folder in data/, and the split that is filled."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sample]:
    """The folder in which the page was run, and what its samples were made from."""
    coco, folder = tmp_path_factory.mktemp("coco"), tmp_path_factory.mktemp("road") / "folder"
    write_coco(coco)
    make_project(folder, coco)
    sample = Sample(coco / "masked.json", coco / "images" / "train")
    generate_samples.as_yolo(sample, folder / "yolo-set")
    generate_samples.as_voc(sample, folder / "voc-set")
    generate_samples.as_labelme(sample, folder / "labelme-set")
    generate_samples.as_open_images(sample, folder / "open-images")
    generate_samples.as_lvis(sample, folder / "lvis")
    for split, file in (("train", "masked"), ("val", "val")):
        part = Sample(coco / f"{file}.json", coco / "images" / split)
        generate_samples.as_objects365(part, folder / "objects365", split)
        generate_samples.as_coco(part, folder / "coco", split)
    settings = small_settings()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        train(folder)
        fit_for_longer(folder)
        run_page(PAGE, folder, tmp_path_factory.mktemp("scripts") / "page", settings=settings)
    return folder, sample


def report(path: Path) -> dict[str, Any]:
    """What a conversion counted."""
    content: dict[str, Any] = json.loads((path / "report.json").read_text(encoding="utf-8"))
    return content


def written(folder: Path) -> tuple[int, int, int]:
    """Images, boxes and masks of the one split."""
    (split,) = report(folder)["splits"].values()
    return split["images"], split["boxes"], split["masks"]


def test_each_sample_comes_in_whole(walked: tuple[Path, Sample]) -> None:
    """Images, boxes and masks are as many as the sample has; in VOC without the masks that others hide wholly."""
    folder, sample = walked
    for name, split in SETS.items():
        assert counts(folder / "data" / name / f"{split}.json") == sample.counts() or name == "voc"
    images, boxes, masks = counts(folder / "data" / "voc" / "train.json")
    assert (images, boxes) == sample.counts()[:2]
    assert 0.9 * sample.counts()[2] < masks <= sample.counts()[2]
    for name, split in SETS.items():
        content = json.loads((folder / "data" / name / f"{split}.json").read_text(encoding="utf-8"))
        found = {entry["name"] for entry in content["categories"]}
        assert found <= set(sample.names.values())
        assert found == set(sample.names.values()) or name in ("voc", "labelme"), "which list only what occurs"


def test_each_file_is_filled_and_pycocotools_reads_it(walked: tuple[Path, Sample]) -> None:
    """As many images and boxes as before, and more masks."""
    folder, _ = walked
    for name, split in SETS.items():
        before, after = folder / "data" / name / f"{split}.json", folder / f"{name}-filled.json"
        assert counts(after)[:2] == counts(before)[:2]
        assert counts(after)[2] > counts(before)[2]
        coco = COCO(str(after))
        assert all(coco.annToMask(entry).any() for entry in coco.anns.values() if entry["segmentation"])


@pytest.mark.parametrize("tool", ["yolo", "voc", "labelme"])
def test_what_goes_out_comes_back(walked: tuple[Path, Sample], tool: str, tmp_path: Path) -> None:
    """To a format and from it again: the same counts."""
    folder, _ = walked
    out = folder / f"{tool}-filled-for-{tool}"
    maskx("convert", "from", tool, str(out), "--out", str(tmp_path / "back"))
    assert counts(tmp_path / "back" / "train.json") == written(out)
    assert written(out)[:2] == counts(folder / f"{tool}-filled.json")[:2]
    if tool != "voc":
        assert written(out)[2] == counts(folder / f"{tool}-filled.json")[2]


def test_datumaro_imports_it(walked: tuple[Path, Sample], tmp_path_factory: pytest.TempPathFactory) -> None:
    """COCO's folders, and VOC's."""
    folder, _ = walked
    programs = environment(tmp_path_factory, "datumaro>=1.10")
    for name, kind in (("voc-filled-for-datumaro", "coco_instances"), ("voc-filled-for-voc", "voc")):
        found = told_by(programs / "python", DATUMARO, folder / name, kind)
        assert (found["images"], found["boxes"], found["masks"]) == written(folder / name)
    assert written(folder / "voc-filled-for-datumaro") == counts(folder / "voc-filled.json")


def test_label_studio_converts_it(
    walked: tuple[Path, Sample], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A rectangle of each box, a polygon of each part of a mask."""
    folder, _ = walked
    programs = environment(tmp_path_factory, "label-studio-sdk")
    path = folder / "labelme-filled-for-label-studio" / "train.json"
    command = [programs / "label-studio-converter", "import", "coco", "-i", path, "-o", tmp_path / "tasks.json"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "ERROR" not in told
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    kinds = [result["type"] for task in tasks for made in task["annotations"] for result in made["result"]]
    content = json.loads(path.read_text())
    assert (len(tasks), kinds.count("rectanglelabels")) == counts(folder / "labelme-filled.json")[:2]
    assert kinds.count("polygonlabels") == sum(len(entry["segmentation"]) for entry in content["annotations"])


def test_ultralytics_loads_it(
    walked: tuple[Path, Sample], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every image, and a segment for every box."""
    folder, _ = walked
    programs = environment(tmp_path_factory, "ultralytics", beside_ours=True)
    path = folder / "yolo-filled-for-ultralytics"
    found = told_by(programs / "python", ULTRALYTICS, path / "data.yaml", YOLO_CONFIG_DIR=str(tmp_path))
    assert (found["images"], found["boxes"]) == counts(folder / "yolo-filled.json")[:2]
    assert found["segments"] == found["boxes"]
    rectangles = [n for reason, n in report(path)["dropped"].items() if "rectangles" in reason]
    assert written(path)[2] == found["segments"] - sum(rectangles)


def test_masks_of_coco_are_mapped_to_objects365(walked: tuple[Path, Sample]) -> None:
    """The project that the page makes reads both."""
    folder, sample = walked
    mapped = json.loads((folder / "data" / "o365" / "category-map.json").read_text())
    assert {row["coco_name"] for row in mapped["categories"]} == set(sample.names.values())
    assert written_splits(folder / "data" / "o365")["train"]["masks"] == 0
    assert (folder / "objects" / "maskx.toml").is_file()


def written_splits(folder: Path) -> dict[str, dict[str, int]]:
    """Counts of each split."""
    splits: dict[str, dict[str, int]] = report(folder)["splits"]
    return splits
