"""Visual Genome from its own files to masks of all its categories: the recipe on the generated data set."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from maskx_in_process import run_script
from PIL import Image

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.data.category_sets import COCO_CATEGORIES
from maskx_pipeline.project import read_project

PIPELINES = Path(__file__).parents[1] / "pipelines"
GENERATOR = Path(__file__).parent / "convert" / "generate_visual_genome.py"
RECIPE = PIPELINES / "visual_genome.sh"
STAND_IN = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case $1 in
  init) printf '[data]\n\n[detect]\nlr = 0.0025\n\n[e2e]\nlr = 0.0025\n' >maskx.toml ;;
  fit-transfer) echo runs/transfer/model ;;
esac
"""


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_visual_genome", Path(__file__).parent / "convert" / "generate_visual_genome.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_that_is_no_project_becomes_one_with_the_papers_schedule(tmp_path: Path) -> None:
    """Convert, init with boxes of one and masks of the other data set, then the stages; the backbone is an option."""
    calls = _run_with_stand_in(tmp_path, BACKBONE="resnet50")
    words = [call.split()[0] for call in calls]
    assert words == [
        "convert", "init", "detect", "export-embeddings", "fit-transfer", "evaluate", "predict",
        "contact-sheet", "compare",
    ]  # fmt: skip
    assert "--masks-category-map data/vg3k/coco-categories.json" in calls[1]
    assert (
        "--split masked --box-loss none --no-coordinates --iterations 90000 --rois-per-batch 1024 --lr 0.02 "
        "--eval-every 0 --embedding cls+box --form published --mask-branch fcn+mlp" in calls[4]
    )
    detect = read_project(tmp_path).tables["detect"]
    assert (detect["backbone"], detect["lr"], detect["iterations"]) == ("resnet50", 0.01, 180_000)
    assert read_project(tmp_path).tables["e2e"] == {"lr": 0.0025}
    again = _run_with_stand_in(tmp_path)
    assert [call.split()[0] for call in again] == ["convert", *words[2:]]


@pytest.mark.parametrize("rare", [1, 2])
def test_the_generated_files_have_every_synset(generator: ModuleType, tmp_path: Path, rare: int) -> None:
    """In Visual Genome's format; the images of COCO are among them, with masks of COCO's categories alone."""
    generator.generate(tmp_path, categories=120, objects_of_rare=rare)
    genome, coco = tmp_path / "data" / "visual-genome", tmp_path / "data" / "coco"
    images = {entry["image_id"]: entry for entry in json.loads((genome / "image_data.json").read_text())}
    entries = json.loads((genome / "objects.json").read_text())
    assert len({s for e in entries for o in e["objects"] for s in o["synsets"]}) == 120
    assert {len(o["synsets"]) for e in entries for o in e["objects"]} == {0, 1, 2}
    for split in ("train2017", "val2017"):
        content = json.loads((coco / "annotations" / f"instances_{split}.json").read_text())
        assert {c["id"]: c["name"] for c in content["categories"]} == COCO_CATEGORIES
        assert content["annotations"]
        for image in content["images"]:
            of_genome = next(e for e in images.values() if e["coco_id"] == image["id"])
            path = genome / "/".join(of_genome["url"].split("/")[-2:])
            assert path.read_bytes() == (coco / split / image["file_name"]).read_bytes()


@pytest.mark.slow
def test_3000_categories_from_their_files_to_masks(generator: ModuleType, tmp_path: Path) -> None:
    """Boxes of 3000 categories and masks of 80 make a model that detects and segments all of them."""
    generator.generate(tmp_path, categories=3000, objects_of_rare=1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "QUICK": "1"}
    done = run_script(RECIPE, str(tmp_path), environment=environment)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    header = next(number for number, line in enumerate(table) if line.startswith("run "))
    assert table[header + 1].startswith("cls+box-published+mlp")
    run = json.loads((tmp_path / "runs" / "transfer" / "cls+box-published+mlp" / "run.json").read_text())
    assert len(run["categories"]) == 3000
    assert run["seen"] == list(range(1, 81))
    coco = json.loads((tmp_path / "data" / "coco" / "annotations" / "instances_train2017.json").read_text())
    ids = list(COCO_CATEGORIES)
    wanted = {a["id"]: ids.index(a["category_id"]) + 1 for a in coco["annotations"]}
    with RoICache(tmp_path / "runs" / "cache.h5") as cache:
        assert cache.class_weights.w_cls.shape[0] == 3000
        rows = cache.train
        assert dict(zip(rows.annotation_ids.tolist(), rows.labels.tolist(), strict=True)) == wanted
        assert (cache.read_targets(range(len(rows))).mean(axis=(1, 2)) > 0).all()
    results = json.loads((tmp_path / "predictions" / "results.json").read_text())
    found = {result["category_id"] for result in results}
    assert found & set(range(1, 81))
    assert found & set(range(81, 3001)), "categories without masks are segmented, too"
    assert all(np.isfinite(result["score"]) and result["segmentation"]["size"] == [128, 128] for result in results)
    with Image.open(tmp_path / "figure5.png") as sheet:
        assert sheet.width > 500
    again = run_script(RECIPE, str(tmp_path), environment=environment)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("unchanged") >= 3


def _run_with_stand_in(project: Path, **environment: str) -> list[str]:
    """How the recipe called maskx."""
    stand_in, calls = project / "stand-in", project / "calls.txt"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    calls.unlink(missing_ok=True)
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("BACKBONE", "IMAGES", "FORM", "GPUS")
    }
    settings = {
        "MASKX": str(stand_in),
        "CALLS": str(calls),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(
        ["bash", str(RECIPE), str(project)],
        env={**inherited, **settings, **environment},
        check=True,
        capture_output=True,
    )
    return calls.read_text().splitlines()
