"""What the pages of the documentation assume to be there, small: data with COCO's names, a project, trained models."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from maskx_pipeline.commands import run
from maskx_pipeline.data.category_sets import COCO_CATEGORIES, VOC_NAMES

SIZE = 64
COUNTS = {"train": 24, "val": 6}

SETTINGS = {
    "shapes": {
        "shapes": 2, "textures": 2, "hues": 2, "image-size": SIZE,
        "train-count": COUNTS["train"], "val-count": COUNTS["val"],
    },
    "detect": {
        "backbone": "resnet18", "backbone-weights": "none", "fpn-channels": 16, "box-head-dim": 16, "min-size": SIZE,
        "max-size": SIZE, "anchor-sizes": "4,8,16,32,64", "rpn-pre-nms": 50, "rpn-post-nms": 20, "rois-per-image": 16,
        "iterations": 2, "images-per-batch": 2, "warmup-iterations": 1, "steps": 2, "score-threshold": 0.0,
        "detections-per-image": 5, "workers": 0,
    },
    "detect-import": {"min-size": SIZE, "max-size": SIZE},
    "export-embeddings": {"rois-per-object": 0, "workers": 0},
    "fit-transfer": {"components": 2, "epochs": 1.0, "rois-per-batch": 2, "eval-every": 0.0},
    "e2e": {"iterations": 1, "images-per-batch": 2, "eval-every": 0, "workers": 0},
    "grabcut": {"iterations": 1, "workers": 0},
}  # fmt: skip
NARROW = {"fit-transfer": {"head-width": 8, "head-depth": 1}}


def small_settings(*, narrow: bool = True) -> dict[str, str]:
    """Environment variables under which every stage takes seconds; not narrow: with a mask head of the usual size."""
    tables = [SETTINGS, NARROW] if narrow else [SETTINGS]
    return {
        f"MASKX_{table}_{key}".upper().replace("-", "_"): str(value)
        for tables_of in tables
        for table, values in tables_of.items()
        for key, value in values.items()
    }


def write_coco(folder: Path) -> None:
    """Images and annotations in the folder: images/train, train.json and those of val, with COCO's 80 categories.

    In masked.json, which is train.json otherwise, 40 categories have masks, among them all of voc.
    """
    shapes = folder / "generated"
    options = [f"--shapes-{key}={value}" for key, value in SETTINGS["shapes"].items()]
    _maskx("init", "--project", str(shapes), "--shapes", "--shapes-masks", "all", *options)
    categories = [{"id": number, "name": name} for number, name in COCO_CATEGORIES.items()]
    for part in COUNTS:
        (folder / "images").mkdir(exist_ok=True)
        shutil.move(shapes / "data" / "shapes" / part, folder / "images" / part)
        content = json.loads((shapes / "data" / "shapes" / f"{part}.json").read_text(encoding="utf-8"))
        content["categories"] = categories
        every_third = itertools.islice(itertools.cycle(COCO_CATEGORIES), None, None, 3)  # all of them in the end
        for entry, number in zip(content["annotations"], every_third, strict=False):
            entry["category_id"] = number
        _write(folder / f"{part}.json", content)
    shutil.rmtree(shapes)
    _write(folder / "masked.json", without_masks(json.loads((folder / "train.json").read_text()), VOC_NAMES, 20))


def without_masks(content: dict[str, Any], kept: frozenset[str], more: int = 0) -> dict[str, Any]:
    """COCO annotations in which only the categories of these names, and so many others, have masks."""
    others = [entry["id"] for entry in content["categories"] if entry["name"] not in kept]
    hidden = set(others[more:])
    for entry in content["annotations"]:
        if entry["category_id"] in hidden:
            entry["segmentation"] = []
    return content


def make_project(folder: Path, data: Path, *, train: str = "masked") -> None:
    """A project folder with data/train.json, data/val.json, and their images in data/train and data/val.

    Args:
        folder: The project folder.
        data: Of :func:`write_coco`.
        train: Which annotations of train: masked, or train with the masks of all.
    """
    (folder / "data").mkdir(parents=True)
    for part, name in (("train", train), ("val", "val")):
        shutil.copytree(data / "images" / part, folder / "data" / part)
        shutil.copy(data / f"{name}.json", folder / "data" / f"{part}.json")
    write_toml(folder, images="data/", annotations="data/")


def write_toml(folder: Path, *, images: str = "", annotations: str = "") -> None:
    """maskx.toml with the two image folders and annotation files."""
    places = (("images", images, ""), ("annotations", annotations, ".json"))
    lines = [f'{part}-{kind} = "{before}{part}{after}"' for part in COUNTS for kind, before, after in places]
    (folder / "maskx.toml").write_text("\n".join(["[data]", *lines, ""]), encoding="utf-8")


def write_coco_mini(folder: Path, source: Path, counts: dict[str, int]) -> None:
    """Images of a sample of COCO, as links in images/train and images/val, with train.json and val.json.

    First come those that have a category which none before them has.
    """
    for part, count in counts.items():
        content = json.loads((source / "annotations" / f"instances_{part}2017.json").read_text(encoding="utf-8"))
        found: dict[int, set[int]] = {image["id"]: set() for image in content["images"]}
        for entry in content["annotations"]:
            found[entry["image_id"]].add(0 if entry["iscrowd"] else entry["category_id"])
        so_far = itertools.accumulate(found.values(), set.union, initial={0})
        bring_more = {image_id for (image_id, new), old in zip(found.items(), so_far, strict=False) if new - old}
        content["images"] = sorted(content["images"], key=lambda image: image["id"] not in bring_more)[:count]
        ids = {image["id"] for image in content["images"]}
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in ids]
        (folder / "images" / part).mkdir(parents=True)
        for image in content["images"]:
            (folder / "images" / part / image["file_name"]).symlink_to(source / f"{part}2017" / image["file_name"])
        _write(folder / f"{part}.json", content)


def train(folder: Path) -> None:
    """The detector, the cache and the models that the pages speak of, evaluated."""
    with contextlib.chdir(folder):
        _maskx("detect", "train")
        _maskx("export-embeddings")
        for name, *options in (
            ("agnostic", "--embedding", "none", "--box-loss", "none", "--no-coordinates"),
            ("published", "--embedding", "cls", "--form", "published", "--box-loss", "none", "--no-coordinates"),
            ("ours", "--embedding", "cls"),
            ("cls+box-rbf+xy+boxes",),
        ):
            _maskx("fit-transfer", "--name", name, *options)
            _maskx("evaluate", "--model", f"runs/transfer/{name}")


def fit_for_longer(folder: Path) -> None:
    """A class-agnostic model that fills boxes with masks, poor ones."""
    with contextlib.chdir(folder):
        options = (
            "--embedding",
            "none",
            "--epochs",
            "12",
            "--lr",
            "0.1",
            "--rois-per-batch",
            "8",
            "--box-loss",
            "projection",
        )
        _maskx("fit-transfer", "--name", "longer", *options)


def train_with_all_masks(folder: Path) -> None:
    """The detector, the cache, and a baseline and a model with T that are given the masks of voc."""
    with contextlib.chdir(folder):
        _maskx("detect", "train")
        _maskx("export-embeddings")
        for name in ("none", "cls+box"):
            _maskx("fit-transfer", "--embedding", name, "--split", "voc")


def _maskx(*words: str) -> None:
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = run(words)
    assert code == 0, f"maskx {' '.join(words)}: {code}\n{err.getvalue()}"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
