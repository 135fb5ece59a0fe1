"""The commands and the code of the documentation are run as they are written, page by page, on tiny data."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from docs_pages import ROOT, SHELL, Block, blocks_of, commands_of, read_page
from docs_world import (
    make_project,
    small_settings,
    train,
    train_with_all_masks,
    without_masks,
    write_coco,
    write_coco_mini,
    write_toml,
)
from maskx_in_process import run_script
from pycocotools.coco import COCO

from maskx_pipeline.data.category_sets import VOC_NAMES

COCO_MINI = ROOT.parent / "shared" / "coco-mini"
YOLOX = ROOT.parent / "shared" / "yolox-nano" / "yolox_nano.onnx"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "pipelines" / "README.md", *(ROOT / "docs").rglob("*.md"))
)
NOT_RUN = ("text", "toml", "json")


class Instead(NamedTuple):
    """What is run in place of a command of a page, or nothing, and why."""

    page: str
    command: str
    run: str
    why: str


QUICKSTART = "installs into .venv, and takes eight minutes; the stages are those of these pages"
DOWNLOAD = "downloads the weights"
SCHEDULE = "days; what is given but for the schedule comes from the settings of the test"
GPUS = "8 GPUs; two processes without one"
INSTEAD = (
    Instead("README.md", "./pipelines/quickstart.sh", "", QUICKSTART),
    Instead("docs/quickstart.md", "./pipelines/quickstart.sh", "", QUICKSTART),
    Instead("docs/explanation/study.md", "benchmarks/shapes_study.sh", "", "hours"),
    Instead("docs/how-to/annotate.md", "label-studio-converter", "", "wants label-studio-sdk"),
    Instead("docs/how-to/your-dataset.md", "maskx detect import", "", DOWNLOAD),
    Instead("docs/how-to/import-and-export.md", "maskx detect import   ", "", DOWNLOAD),
    Instead("docs/how-to/import-and-export.md", "maskx detect import --weights fasterrcnn", "", DOWNLOAD),
    *(
        Instead(
            "docs/how-to/resume-and-many-gpus.md",
            f"torchrun --nproc-per-node 8 -m maskx_pipeline {stage}",
            f"torchrun --standalone --nproc-per-node 2 -m maskx_pipeline {stage}",
            GPUS,
        )
        for stage in ("detect train", "export-embeddings", "e2e")
    ),
    Instead("docs/how-to/resume-and-many-gpus.md", "tensorboard --logdir runs", "", "a server"),
    Instead("docs/how-to/resume-and-many-gpus.md", "maskx detect train --images-per-batch 2", "", SCHEDULE),
    Instead("docs/how-to/resume-and-many-gpus.md", "maskx fit-transfer --embedding cls --device cuda:0 &", "", GPUS),
    Instead("docs/how-to/resume-and-many-gpus.md", "maskx fit-transfer --embedding none --device cuda:1 &", "", GPUS),
    Instead("docs/how-to/shell-completion.md", 'eval "$(_MASKX_COMPLETE=zsh_source maskx)"', "", "zsh is not bash"),
    Instead(
        "docs/how-to/visual-genome.md", "maskx detect train --backbone resnet101", "maskx detect train", SCHEDULE
    ),
    Instead("pipelines/README.md", ".venv/bin/python pipelines/generate_visual", "", "minutes; a test of its own"),
    Instead("pipelines/README.md", "pipelines/visual_genome.sh", "", "as above"),
)  # fmt: skip
"""``command`` is how it begins."""

BLOCKS_NOT_RUN = {
    ("docs/how-to/other-detector.md", '"""A RoI cache from YOLOX-nano'): "it is the script that the next block runs",
    ("docs/how-to/annotate.md", "import fiftyone"): "FiftyOne wants a database server",
}
"""Page and beginning of the block: why."""

BEFORE = {
    ("docs/how-to/import-and-export.md", "maskx detect import --weights mine.pth"): "rm -r runs",
    ("docs/how-to/import-and-export.md", "maskx export-model"): "maskx export-embeddings && maskx fit-transfer",
}
"""Page and beginning of the block: what its reader has done before, and the page does not say."""


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


def script_of(page: str, folder: Path) -> str:
    """All blocks of a page as one script for bash, which stops at the first command that fails."""
    lines = ["set -euo pipefail"]
    for block in blocks_of(page, read_page(page)):
        if block.language in NOT_RUN or _matching(block, BLOCKS_NOT_RUN):
            continue
        lines.append(f"echo '== {page}, line {block.line}' >&2")
        lines += [BEFORE[key] for key in _matching(block, BEFORE)]
        if block.language == "python":
            file = folder / f"block-{block.line}.py"
            file.write_text(block.text, encoding="utf-8")
            lines.append(f"python {file}")
        else:
            assert block.language in SHELL, f"{page}, line {block.line}: a block of {block.language}"
            lines += [_instead(page, command) for command in commands_of(block)]
    return "\n".join([*lines, ""])


def _instead(page: str, command: str) -> str:
    found = [entry.run for entry in INSTEAD if entry.page == page and command.startswith(entry.command)]
    return found[0] if found else command


def _matching(block: Block, table: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    return [key for key in table if key[0] == block.page and block.text.startswith(key[1])]


def run_page(page: str, folder: Path, scripts: Path, *, settings: Mapping[str, str]) -> str:
    """Run a page in a folder; what it printed."""
    scripts.mkdir()
    script = scripts / "page.sh"
    script.write_text(script_of(page, scripts), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MASKX")}
    environment = {
        **inherited, **settings, "HOME": str(scripts), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }  # fmt: skip
    with contextlib.chdir(folder):
        done = run_script(script, environment=environment, on_path=True)
    assert done.returncode == 0, f"{page}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def test_what_is_not_run_is_still_in_the_pages() -> None:
    """An entry of the lists that matches nothing is out of date."""
    blocks = [block for page in PAGES for block in blocks_of(page, read_page(page))]
    commands = [(block.page, line) for block in blocks if block.language in SHELL for line in commands_of(block)]
    stale = [
        *(e for e in INSTEAD if not any(p == e.page and c.startswith(e.command) for p, c in commands)),
        *(key for key in (*BLOCKS_NOT_RUN, *BEFORE) if not any(_matching(block, {key: ""}) for block in blocks)),
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


def visual_genome(folder: Path, coco: Path, project: Path) -> None:
    """Its files and COCO's, generated in their formats."""
    generate = runpy.run_path(str(ROOT / "pipelines" / "generate_visual_genome.py"))["generate"]
    generate(folder, categories=120, objects_of_rare=1)
    (folder / "maskx.toml").unlink()
    _photos(folder, coco, "photo.jpg")


def nothing(folder: Path, coco: Path, project: Path) -> None:
    """The page makes what it needs."""


def recipes(folder: Path, coco: Path, project: Path) -> None:
    """A checkout, with a project in a folder."""
    (folder / "pipelines").symlink_to(ROOT / "pipelines")
    make_project(folder / "PROJECT_FOLDER", coco, train="train")


WORLDS: dict[str, Callable[[Path, Path, Path], None]] = {
    "README.md": readme,
    "docs/quickstart.md": data_beside,
    "docs/explanation/study.md": nothing,
    "docs/how-to/annotate.md": trained,
    "docs/how-to/baselines.md": nothing,
    "docs/how-to/figures.md": trained_with_all_masks,
    "docs/how-to/import-and-export.md": weights_of_torchvision,
    "docs/how-to/python.md": trained,
    "docs/how-to/report.md": trained,
    "docs/how-to/resume-and-many-gpus.md": untrained,
    "docs/how-to/shell-completion.md": nothing,
    "docs/how-to/visual-genome.md": visual_genome,
    "docs/how-to/your-dataset.md": data_beside,
    "docs/reference/cache-format.md": nothing,
    "docs/reference/results.md": trained,
    "pipelines/README.md": recipes,
}


def test_every_page_with_something_to_run_is_run() -> None:
    """A new page needs its place in this table."""
    blocks = [block for page in PAGES for block in blocks_of(page, read_page(page)) if block.language not in NOT_RUN]
    assert {block.page for block in blocks} == {*WORLDS, "docs/how-to/other-detector.md"}


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
        monkeypatch.setattr("maskx_pipeline.stages.models.predictions_from_cache", lambda *_, **__: true_masks(coco))
    WORLDS[page](folder, coco, project)
    run_page(page, folder, tmp_path / "scripts", settings=settings)


needs_coco = pytest.mark.skipif(not COCO_MINI.is_dir(), reason=f"the COCO sample is not at {COCO_MINI}")


@pytest.mark.slow
@needs_coco
def test_the_road_of_a_new_user_on_coco(tmp_path: Path) -> None:
    """Real images with the masks of voc alone lead to an annotated file, a report, and a checkpoint for torchvision."""
    folder = tmp_path / "folder"
    write_coco_mini(folder, COCO_MINI, {"train": 70, "val": 30})
    given = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(json.dumps(without_masks(given, VOC_NAMES)), encoding="utf-8")
    project = folder / "my-project"
    (project / "some").mkdir(parents=True)
    (project / "some" / "photos").symlink_to(folder / "images" / "val")
    (project / "seen.txt").write_text("person\ncar\nchair\nbottle\n", encoding="utf-8")
    settings = small_settings() | {
        "MASKX_DETECT_ITERATIONS": "20", "MASKX_DETECT_MIN_SIZE": "96", "MASKX_DETECT_MAX_SIZE": "128",
        "MASKX_FIT_TRANSFER_ROIS_PER_BATCH": "16", "MASKX_REPORT_SCORE_THRESHOLD": "0",
    }  # fmt: skip
    printed = run_page("docs/how-to/your-dataset.md", folder, tmp_path / "scripts", settings=settings)
    assert "70 training and 30 validation images; categories: 20 seen, 60 unseen" in printed

    before = (folder / "train.json").read_text()
    after = (project / "annotated.json").read_text()
    old, new = json.loads(before)["annotations"], json.loads(after)["annotations"]
    assert [entry["id"] for entry in new] == [entry["id"] for entry in old]
    assert [entry for entry in new if "mask_source" not in entry] == [
        entry for entry, filled in zip(old, new, strict=True) if "mask_source" not in filled
    ]
    voc = {entry["id"] for entry in given["categories"] if entry["name"] in VOC_NAMES}
    asked = [entry for entry in new if entry["category_id"] not in voc and not entry["iscrowd"]]
    assert sum("mask_source" in entry for entry in asked) > 0.9 * len(asked) > 100
    coco = COCO(str(project / "annotated.json"))
    filled = next(entry for entry in asked if "mask_source" in entry)
    assert coco.annToMask(filled).sum() == pytest.approx(filled["area"], rel=0.1)

    report = (project / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/webp") >= 3 * 12
    assert not re.search(r'(src|href)="https?:', report)

    note = json.loads((project / "runs" / "exported" / "model.safetensors.json").read_text())
    assert note["code"] in printed
    with contextlib.chdir(project):
        names: dict[str, Any] = {}
        exec(note["code"], names)
        found = names["model"]([torch.rand(3, 120, 160)])[0]
    assert found["masks"].shape[1:] == (1, 120, 160)


@pytest.mark.slow
@needs_coco
@pytest.mark.skipif(not YOLOX.is_file(), reason=f"the detector is not at {YOLOX}")
def test_the_page_of_another_detector_runs_as_it_is_written(tmp_path: Path) -> None:
    """On the first images of the COCO sample; its script is the file beside the page."""
    pytest.importorskip("onnxruntime", reason="comes with the extra dev")
    folder = tmp_path / "folder"
    write_coco_mini(folder, COCO_MINI, {"train": 70, "val": 5})
    write_toml(folder, images="images/")
    shutil.copy(ROOT / "docs" / "how-to" / "other_detector.py", folder)
    (folder / "yolox_nano.onnx").symlink_to(YOLOX)
    settings = {name: value for name, value in small_settings().items() if "FIT_TRANSFER" in name}
    printed = run_page("docs/how-to/other-detector.md", folder, tmp_path / "scripts", settings=settings)
    assert "nonvoc" in printed


def true_masks(coco: Path) -> list[dict[str, object]]:
    """Detections that are the objects of val."""
    content = json.loads((coco / "val.json").read_text())
    keys = ("image_id", "category_id", "bbox", "segmentation")
    return [{"score": 0.5} | {key: entry[key] for key in keys} for entry in content["annotations"]]


def _photos(folder: Path, coco: Path, *names: str) -> None:
    from PIL import Image

    for name, path in zip(names, sorted((coco / "images" / "val").iterdir()), strict=False):
        with Image.open(path) as image:
            image.convert("RGB").save(folder / name)
