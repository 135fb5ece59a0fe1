"""[masks] of maskx.toml: boxes of one data set, masks of another whose categories are mapped onto the detector's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_project import DETECT, maskx, shapes_of, write_settings

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import MasksConfig
from maskx_pipeline.project import read_project

SETTINGS = {
    "detect": DETECT,
    "export-embeddings": {"rois-per-object": 1, "workers": 0},
    "fit-transfer": {
        "head-width": 8, "head-depth": 1, "components": 2, "epochs": 1.0, "rois-per-batch": 8, "eval-every": 0.0,
    },
}  # fmt: skip
MASKS = """
[masks]
train-images = "data/shapes/train"
train-annotations = "other/train.json"
val-images = "data/shapes/val"
val-annotations = "other/val.json"
category-map = "other/map.json"
"""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of boxes without masks. Under other/ the masks of the same images, their categories' ids reversed."""
    folder = tmp_path_factory.mktemp("project")
    maskx(folder, "init", *shapes_of(train=12, val=6))
    (folder / "other").mkdir()
    rows = []
    for split in ("train", "val"):
        boxes, masks = (read(folder / "data" / "shapes" / f"{split}.json") for _ in range(2))
        for annotation in boxes["annotations"]:
            annotation.pop("segmentation", None)
        names = {c["id"]: c["name"] for c in masks["categories"]}
        for entry in masks["categories"]:
            entry.update(id=100 - entry["id"], name=f"other {entry['name']}")
        for annotation in masks["annotations"]:
            annotation["category_id"] = 100 - annotation["category_id"]
        (folder / f"{split}-boxes.json").write_text(json.dumps(boxes))
        (folder / "other" / f"{split}.json").write_text(json.dumps(masks))
        rows = [
            {"coco_id": 100 - i, "coco_name": f"other {n}", "category_id": i, "category_name": n}
            for i, n in names.items()
        ]
    (folder / "other" / "map.json").write_text(json.dumps({"schema": 1, "categories": rows}))
    write_settings(folder, SETTINGS)
    toml = (folder / "maskx.toml").read_text(encoding="utf-8")
    (folder / "usual.toml").write_text(toml, encoding="utf-8")
    for split in ("train", "val"):
        toml = toml.replace(f'"data/shapes/{split}.json"', f'"{split}-boxes.json"')
    (folder / "maskx.toml").write_text(toml + MASKS, encoding="utf-8")
    maskx(folder, "detect", "train")
    maskx(folder, "export-embeddings")
    return folder


def test_the_cache_is_that_of_one_data_set_with_boxes_and_masks(project: Path, tmp_path: Path) -> None:
    """Rows, labels, targets and features are those that the usual [data] gives; only what it was made from differs."""
    usual = tmp_path / "usual"
    usual.mkdir()
    (usual / "data").symlink_to(project / "data")
    (usual / "maskx.toml").write_text((project / "usual.toml").read_text())
    maskx(usual, "export-embeddings", "--detector", str(project / "runs" / "detector"))
    with RoICache(project / "runs" / "cache.h5") as mapped, RoICache(usual / "runs" / "cache.h5") as plain:
        assert mapped.categories == plain.categories
        assert set(mapped.train.has_mask.tolist()) == {0, 1}  # objects without masks are those of the other data set
        for group in ("train", "detections", "ground_truth"):
            one, other = getattr(mapped, group), getattr(plain, group)
            for name in vars(one):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            rows = range(len(one))
            np.testing.assert_array_equal(mapped.read_features(group, rows), plain.read_features(group, rows))
        np.testing.assert_array_equal(mapped.read_targets(range(len(mapped.train))), plain.read_targets(
            range(len(plain.train))))  # fmt: skip
        assert mapped.identity.differences(plain.identity)


def test_a_model_is_fitted_to_the_mapped_masks_and_measured_against_them(project: Path) -> None:
    """`masked` are the categories with masks in [masks]; AP is that of its val, in the detector's categories."""
    folder = project / maskx(project, "fit-transfer", "--embedding", "cls").stdout.strip()
    masked = {a["category_id"] for a in read(project / "other" / "train.json")["annotations"] if "segmentation" in a}
    assert set(read(folder / "run.json")["seen"]) == {100 - category_id for category_id in masked}
    printed = json.loads(maskx(project, "evaluate", "--split", "masked", "--json").stdout)
    assert printed["from"] == "cache"
    assert printed["sets"]["masked"]["categories"] == len(masked)
    assert printed["sets"]["masked"]["mask"]["AP"] is not None
    assert "other" not in printed["categories"][0]["name"]
    images = json.loads(maskx(project, "evaluate", "--from", "images", "--json").stdout)
    assert images["sets"]["seen"] == printed["sets"]["seen"]


def test_doctor_counts_boxes_here_and_masks_there(project: Path) -> None:
    """Without [masks] there would be nothing to learn from."""
    report = json.loads(maskx(project, "doctor", "--json").stdout)
    entries = read(project / "other" / "train.json")["annotations"]
    assert sum(row["train_masks"] for row in report["categories"]) == sum("segmentation" in a for a in entries)
    assert sum(row["train_boxes"] for row in report["categories"]) == len(entries)
    assert report["fatal"] == []


def test_a_map_that_misses_a_category_stops_the_export_before_it_writes(project: Path, tmp_path: Path) -> None:
    """Exit code 1, the category named, no cache and no part of one."""
    content = read(project / "other" / "map.json")
    entries = read(project / "other" / "train.json")["annotations"]
    masked = next(a["category_id"] for a in entries if "segmentation" in a)
    content["categories"] = [row for row in content["categories"] if row["coco_id"] != masked]
    (tmp_path / "map.json").write_text(json.dumps(content))
    (tmp_path / "maskx.toml").write_text(_with_map(project, tmp_path / "map.json"))
    for command in (("export-embeddings",), ("export-embeddings", "--dry-run")):
        error = maskx(project, *command, "--project", str(tmp_path), "--detector", "runs/detector", code=1).stderr
        assert f"({masked})" in error
        assert "does not map" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.json", "maskx.toml"]


def test_a_cache_of_another_map_is_refused(project: Path, tmp_path: Path) -> None:
    """The masks of two categories exchanged: neither a fit nor an evaluation takes the cache for its own."""
    content = read(project / "other" / "map.json")
    first, second = content["categories"][:2]
    for key in ("category_id", "category_name"):
        first[key], second[key] = second[key], first[key]
    (tmp_path / "map.json").write_text(json.dumps(content))
    (tmp_path / "maskx.toml").write_text(_with_map(project, tmp_path / "map.json"))
    error = maskx(
        project, "fit-transfer", "--project", str(tmp_path), "--cache", "runs/cache.h5", code=1
    ).stderr  # fmt: skip
    assert "other training annotations" in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ('[masks]\ncategory-map = "other/map.json"\n', "without train-images, train-annotations, val-images, val-"),
        (MASKS.replace('val-images = "data/shapes/val"\n', ""), "without val-images"),
        (MASKS.replace('category-map = "other/map.json"\n', ""), "category-map in [masks]"),
    ],
)
def test_a_table_masks_that_is_not_whole_is_an_error(project: Path, tmp_path: Path, masks: str, said: str) -> None:
    """Also one without a map, where ids and names are not the detector's."""
    toml = (project / "maskx.toml").read_text().replace(MASKS, masks)
    (tmp_path / "maskx.toml").write_text(toml)
    for name in ("data", "other", "train-boxes.json", "val-boxes.json", "runs"):
        (tmp_path / name).symlink_to(project / name)
    assert said in maskx(tmp_path, "export-embeddings", "--out", "new.h5", code=1).stderr
    assert not (tmp_path / "new.h5").exists()


def test_init_writes_both_data_sets(project: Path, tmp_path: Path) -> None:
    """--masks-... make [masks]; a path that does not exist, or a part of them, is an error and nothing is written."""
    shapes = project / "data" / "shapes"
    data = [f"--{s}-{k}={p}" for s in ("train", "val") for k, p in (
        ("images", shapes / s), ("annotations", project / f"{s}-boxes.json"))]  # fmt: skip
    masks = [f"--masks-{s}-{k}={p}" for s in ("train", "val") for k, p in (
        ("images", shapes / s), ("annotations", project / "other" / f"{s}.json"))]  # fmt: skip
    assert "[masks] is given without" in maskx(tmp_path, "init", *data, *masks[:3], code=1).stderr
    error = maskx(tmp_path, "init", *data, *masks, "--masks-category-map=none.json", code=1).stderr
    assert "none.json does not exist" in error
    assert not (tmp_path / "maskx.toml").exists()
    maskx(tmp_path, "init", *data, *masks, f"--masks-category-map={project / 'other' / 'map.json'}")
    written = read_project(tmp_path).load(MasksConfig).category_map
    assert written is not None
    assert written.resolve() == project / "other" / "map.json"
    report = json.loads(maskx(tmp_path, "doctor", "--json").stdout)
    assert {row["verdict"] for row in report["categories"]} == {"seen", "unseen"}
    assert maskx(tmp_path, "init", "--shapes", masks[0], "--overwrite", code=2).stderr


def _with_map(project: Path, map_file: Path) -> str:
    """maskx.toml for a folder elsewhere, with another map."""
    toml = (project / "maskx.toml").read_text()
    for name in ("data/shapes", "other/", "train-boxes", "val-boxes"):
        toml = toml.replace(f'"{name}', f'"{project}/{name}')
    return toml.replace(f"{project}/other/map.json", str(map_file))
