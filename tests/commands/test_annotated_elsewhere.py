"""Other libraries and tools take what `maskx annotate` writes."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from pathlib import Path

import pytest
from annotate_world import MIXED, annotate, entries, write_dataset
from docs_pages import blocks_of, read_page
from importers import environment
from pycocotools.coco import COCO
from read_by_other_libraries import read_by_supervision

from maskx_pipeline.commands import run


@pytest.mark.parametrize("mask_format", ["polygons", "rle"])
def test_pycocotools_and_supervision_read_the_result(project: Path, mask_format: str) -> None:
    """They see as many pixels as the annotation says, under the right name."""
    pytest.importorskip("supervision", reason="comes with the extra dev")
    path = annotated_mixture(project, mask_format)
    entry = entries(path)[1]
    coco = COCO(str(path))
    assert coco.annToMask(coco.anns[1]).sum() == entry["area"]
    assert_areas_agree(path, read_by_supervision(path, project / "images"))


@pytest.fixture(scope="session")
def datumaro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of Datumaro, which wants an older OpenCV and Pillow."""
    return environment(tmp_path_factory, "datumaro>=1.10") / "python"


@pytest.mark.slow
def test_label_studio_takes_the_result_in_the_way_of_the_page(project: Path, tmp_path_factory) -> None:
    """Its converter makes a task of each image, with every polygon, and complains of nothing."""
    programs = environment(tmp_path_factory, "label-studio-sdk")
    path = annotated_mixture(project, "polygons")
    (project / "data").mkdir()
    (project / "images").rename(project / "data" / "train")
    blocks = [block.text for block in blocks_of("annotate", read_page("docs/how-to/annotate.md"))]
    with contextlib.chdir(project):
        assert run(shlex.split(next(text for text in blocks if "convert to label-studio" in text))[1:]) == 0
        command = shlex.split(next(text for text in blocks if text.startswith("label-studio-converter")))
        told = subprocess.run([programs / command[0], *command[1:]], capture_output=True, text=True, check=True).stderr
        tasks = json.loads(Path("tasks.json").read_text())
    assert "ERROR" not in told
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=images/a.png",
        "/data/local-files/?d=images/b.png",
    ]
    drawn = [result["type"] for task in tasks for made in task["annotations"] for result in made["result"]]
    polygons = [
        entry["segmentation"] for entry in entries(path).values() if isinstance(entry.get("segmentation"), list)
    ]
    assert drawn.count("polygonlabels") == sum(map(len, polygons)) > 3


@pytest.mark.slow
@pytest.mark.parametrize("mask_format", ["polygons", "rle"])
def test_datumaro_reads_the_result(project: Path, datumaro: Path, mask_format: str) -> None:
    """As the others; CVAT imports COCO files by a Datumaro of its own."""
    path = annotated_mixture(project, mask_format)
    program = Path(__file__).parent / "read_by_other_libraries.py"
    printed = subprocess.run(
        [datumaro, program, "datumaro", path, project / "images"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert_areas_agree(path, {(name, image): areas for name, image, areas in json.loads(printed.splitlines()[-1])})


def annotated_mixture(project: Path, mask_format: str) -> Path:
    """Annotate, and give the file; supervision refuses boxes without area, so there is none."""
    boxes = [entry for number, entry in enumerate(MIXED) if number != 5]
    boxes.append({"iscrowd": 1, "segmentation": None})  # for which Datumaro would refuse the whole file
    write_dataset(project, {"a.png": "RGB", "b.png": "RGB"}, boxes)
    annotate(project, "boxes.json", "--mask-format", mask_format)
    return project / "annotated.json"


def assert_areas_agree(path: Path, areas: dict[tuple[str, str], list[float]]) -> None:
    """Of the two masks that were filled, one in each image."""
    after = entries(path)
    for image, number in (("a.png", 1), ("b.png", 6)):
        nearest = min(areas['dog/"cat"', image], key=lambda area: abs(area - after[number]["area"]))
        # OpenCV, which supervision draws with, also counts the pixels that the line itself runs through.
        assert nearest == pytest.approx(after[number]["area"], rel=0.1)
