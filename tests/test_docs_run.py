"""The commands and the code of the documentation are run as they are written, page by page, on tiny data."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from docs_pages import ROOT, SHELL, blocks_of, commands_of, read_page
from docs_runner import BEFORE, BLOCKS_NOT_RUN, INSTEAD, NOT_RUN, PAGES, matching, run_page
from docs_world import fit_for_longer, make_project, small_settings, train, train_with_all_masks, write_coco
from PIL import Image


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/train, train.json, masked.json, images/val, val.json."""
    folder = tmp_path_factory.mktemp("coco")
    write_coco(folder)
    return folder


@pytest.fixture(scope="session")
def project(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is trained and evaluated."""
    folder = tmp_path_factory.mktemp("project") / "trained"
    make_project(folder, coco)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small_settings().items():
            patch.setenv(name, value)
        train(folder)
    return folder


def test_what_is_not_run_is_still_in_the_pages() -> None:
    """An entry of the lists that matches nothing is out of date."""
    blocks = [block for page in PAGES for block in blocks_of(page, read_page(page))]
    commands = [(block.page, line) for block in blocks if block.language in SHELL for line in commands_of(block)]
    stale = [
        *(e for e in INSTEAD if not any(p == e.page and c.startswith(e.command) for p, c in commands)),
        *(key for key in (*BLOCKS_NOT_RUN, *BEFORE) if not any(matching(block, {key: ""}) for block in blocks)),
    ]
    assert stale == []


# What each page assumes to be in the working directory.


def data_beside(folder: Path, coco: Path, project: Path) -> None:
    """Images and annotation files, as exported from somewhere; the project is made by the page."""
    (folder / "images").symlink_to(coco / "images")
    for name, file in (("train", "masked"), ("val", "val")):
        shutil.copy(coco / f"{file}.json", folder / f"{name}.json")
    (folder / "my-project" / "some").mkdir(parents=True)
    (folder / "my-project" / "some" / "photos").symlink_to(coco / "images" / "val")
    (folder / "my-project" / "seen.txt").write_text("person\ndog\ncat\nchair\nbus\n", encoding="utf-8")


def readme(folder: Path, coco: Path, project: Path) -> None:
    """One folder D and one file F, a photo, and a file of boxes."""
    (folder / "D").symlink_to(coco / "images" / "train")
    shutil.copy(coco / "masked.json", folder / "F")
    shutil.copy(coco / "masked.json", folder / "boxes.json")
    _photos(folder, coco, "photo.jpg")


def trained(folder: Path, coco: Path, project: Path) -> None:
    """A project with models, and photos."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    _photos(folder, coco, "photo.jpg")


def trained_for_longer(folder: Path, coco: Path, project: Path) -> None:
    """The newest model has learned enough to find things in their boxes."""
    trained(folder, coco, project)
    fit_for_longer(folder)


def trained_with_all_masks(folder: Path, coco: Path, project: Path) -> None:
    """A project in which each split chooses whose masks are used, and photos."""
    shutil.rmtree(folder)
    make_project(folder, coco, train="train")
    train_with_all_masks(folder)
    _photos(folder, coco, "street.jpg", "kitchen.jpg")


def untrained(folder: Path, coco: Path, project: Path) -> None:
    """A project with data."""
    shutil.rmtree(folder)
    make_project(folder, coco)


def weights_of_torchvision(folder: Path, coco: Path, project: Path) -> None:
    """State dicts of torchvision's Faster R-CNN, of COCO's 91 outputs and of 80 categories that are named."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn

    untrained(folder, coco, project)
    names = [entry["name"] for entry in json.loads((coco / "train.json").read_text())["categories"]]
    (folder / "names.txt").write_text("\n".join(names), encoding="utf-8")
    for name, outputs in (("faster_rcnn.pth", 91), ("mine.pth", 81)):
        torch.manual_seed(0)
        model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=outputs)
        torch.save(model.state_dict(), folder / name)
    _photos(folder, coco, "photo.jpg")


def visual_genome(folder: Path, coco: Path, project: Path) -> None:
    """Its files and COCO's, generated in their formats."""
    generate = runpy.run_path(str(ROOT / "tests" / "convert" / "generate_visual_genome.py"))["generate"]
    generate(folder, categories=120, objects_of_rare=1)
    (folder / "maskx.toml").unlink()
    _photos(folder, coco, "photo.jpg")


def with_sam(folder: Path, coco: Path, project: Path) -> None:
    """A project with models, weights of SAM in maskx.toml, and the class of the page."""
    from tiny_sam import save_sam

    trained(folder, coco, project)
    weights = save_sam(folder / "weights" / "sam")
    with (folder / "maskx.toml").open("a", encoding="utf-8") as file:
        file.write(f'[sam]\nweights = "{weights.relative_to(folder)}"\n')
    block = next(b for b in blocks_of("", read_page("docs/how-to/t-or-sam.md")) if b.language == "python")
    (folder / "ellipse.py").write_text(block.text, encoding="utf-8")


def nothing(folder: Path, coco: Path, project: Path) -> None:
    """The page makes what it needs."""


def recipes(folder: Path, coco: Path, project: Path) -> None:
    """A checkout, and COCO as its archives are; the project is made by the page."""
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    (folder / "coco" / "annotations").mkdir(parents=True)
    for part in ("train", "val"):
        (folder / "coco" / f"{part}2017").symlink_to(coco / "images" / part)
        shutil.copy(coco / f"{part}.json", folder / "coco" / "annotations" / f"instances_{part}2017.json")


WORLDS: dict[str, Callable[[Path, Path, Path], None]] = {
    "README.md": readme,
    "docs/quickstart.md": data_beside,
    "docs/explanation/study.md": nothing,
    "docs/how-to/annotate.md": trained_for_longer,
    "docs/how-to/baselines.md": nothing,
    "docs/how-to/figures.md": trained_with_all_masks,
    "docs/how-to/import-and-export.md": weights_of_torchvision,
    "docs/how-to/python.md": trained,
    "docs/how-to/report.md": trained,
    "docs/how-to/resume-and-many-gpus.md": untrained,
    "docs/how-to/shell-completion.md": nothing,
    "docs/how-to/t-or-sam.md": with_sam,
    "docs/how-to/training.md": untrained,
    "docs/how-to/tune.md": trained,
    "docs/how-to/visual-genome.md": visual_genome,
    "docs/how-to/your-dataset.md": data_beside,
    "docs/reference/cache-format.md": nothing,
    "docs/reference/results.md": trained,
    "pipelines/README.md": recipes,
}


def test_every_page_with_something_to_run_is_run() -> None:
    """A new page needs its place in this table."""
    blocks = [block for page in PAGES for block in blocks_of(page, read_page(page)) if block.language not in NOT_RUN]
    elsewhere = {"docs/how-to/other-detector.md", "docs/how-to/formats.md"}  # each has a test of its own
    assert {block.page for block in blocks} == {*WORLDS, *elsewhere}


@pytest.mark.slow
@pytest.mark.parametrize("page", WORLDS)
def test_a_page_runs_as_it_is_written(
    page: str, coco: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command succeeds, in one folder and in the order of the page."""
    folder = tmp_path / "folder"
    folder.mkdir()
    narrow = WORLDS[page] is not weights_of_torchvision  # what is loaded there has the usual sizes
    settings = small_settings(narrow=narrow)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if page == "docs/how-to/figures.md":  # a gain relative to an AP of 0 cannot be drawn
        monkeypatch.setattr("maskx_pipeline.stages.evaluate.predictions_from_cache", lambda *_, **__: true_masks(coco))
    WORLDS[page](folder, coco, project)
    run_page(page, folder, tmp_path / "scripts", settings=settings)


def true_masks(coco: Path) -> list[dict[str, object]]:
    """Detections that are the objects of val."""
    content = json.loads((coco / "val.json").read_text())
    keys = ("image_id", "category_id", "bbox", "segmentation")
    return [{"score": 0.5} | {key: entry[key] for key in keys} for entry in content["annotations"]]


def _photos(folder: Path, coco: Path, *names: str) -> None:
    for name, path in zip(names, sorted((coco / "images" / "val").iterdir()), strict=False):
        with Image.open(path) as image:
            image.convert("RGB").save(folder / name)
