"""The main line through the command line on a tiny generated data set: every stage, twice."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors.numpy import load_file
from tiny_project import TRAINED, maskx, shapes_of, write_settings

from maskx_pipeline.evaluation.evaluate import write_results
from maskx_pipeline.provenance.file_lists import digests_of
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.seals import read_json_file

SETTINGS = {
    "detect": TRAINED,
    "export-embeddings": {"rois-per-object": 1, "workers": 0},
    "fit-transfer": {"head-width": 16, "head-depth": 1, "components": 4, "epochs": 2.0, "rois-per-batch": 8},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose detector, cache and two transfer models are done."""
    folder = tmp_path_factory.mktemp("project")
    maskx(folder, "init", *shapes_of(train=16, val=6))
    write_settings(folder, SETTINGS)
    maskx(folder, "detect", "train")
    maskx(folder, "export-embeddings")
    maskx(folder, "fit-transfer", "--embedding", "cls+box")
    maskx(folder, "fit-transfer", "--embedding", "none")
    return folder


@pytest.mark.parametrize(
    "command", [("detect", "train"), ("fit-transfer",), ("e2e", "--iterations", "1", "--images-per-batch", "2")]
)
def test_what_trains_writes_for_tensorboard_where_it_is_asked_to(project, tmp_path, command):
    """Into its run folder; whether it does is no setting of the result."""
    pytest.importorskip("tensorboard")
    shutil.copytree(project, tmp_path / "project")
    run_folder = tmp_path / "project" / maskx(tmp_path / "project", *command, "--tensorboard").stdout.strip()
    assert list(run_folder.glob("events.out.tfevents.*"))
    assert "unchanged" in maskx(tmp_path / "project", *command).stderr


def test_finished_stages_return_at_once_and_change_nothing(project):
    """Every stage is idempotent: finished and unchanged, it says so."""
    files = [project / "runs/detector/last.safetensors", project / "runs/cache.h5"]
    files.append(project / "runs/transfer/cls+box-rbf+xy+boxes/last.safetensors")
    before = [path.stat().st_mtime_ns for path in files]
    for stage in (("detect", "train"), ("export-embeddings",), ("fit-transfer", "--embedding", "cls+box")):
        assert "unchanged" in maskx(project, *stage).stderr
    assert [path.stat().st_mtime_ns for path in files] == before


def test_changed_settings_are_refused_with_what_differs(project):
    """Nothing is overwritten without --overwrite, and the error names the setting."""
    for stage, said in (
        (("detect", "train", "--lr", "0.3"), "lr"),
        (("export-embeddings", "--rois-per-object", "3"), "rois"),
        (("fit-transfer", "--embedding", "cls+box", "--rois-per-batch", "9"), "rois-per-batch"),
    ):
        error = maskx(project, *stage, code=1).stderr
        assert said in error
        assert "--overwrite" in error


def test_a_run_records_how_many_masks_it_was_trained_on(project):
    """Of each seen category; a finished run of an earlier version gets it without being trained again."""
    train = json.loads((project / "data/shapes/train.json").read_text())
    counts = {}
    for entry in train["annotations"]:
        if entry.get("segmentation") and not entry["iscrowd"]:
            key = str(entry["category_id"])
            counts[key] = counts.get(key, 0) + 1
    path = project / "runs/transfer/cls+box-rbf+xy+boxes/run.json"
    record = json.loads(path.read_text())
    assert record.pop("masks") == counts
    write_json(path, record)
    assert "unchanged" in maskx(project, "fit-transfer", "--embedding", "cls+box").stderr
    assert json.loads(path.read_text())["masks"] == counts


def test_word_vectors_are_an_input_of_the_run(project, tmp_path):
    """A missing word stops before a folder is made; changed vectors are refused, unchanged ones found finished."""
    names = [c["name"] for c in json.loads((project / "data/shapes/train.json").read_text())["categories"]]
    words = sorted({word for name in names for word in name.split()})
    glove = tmp_path / "glove.txt"
    fit = ("fit-transfer", "--embedding", "glove", "--embedding-file", str(glove), "--epochs", "1")
    glove.write_text("".join(f"{word} {n} {n % 3}\n" for n, word in enumerate(words[1:])))
    assert words[0] in maskx(project, *fit, code=1).stderr
    assert not (project / "runs/transfer/glove-rbf+xy+boxes").exists()
    glove.write_text("".join(f"{word} {n} {n % 3}\n" for n, word in enumerate(words)))
    maskx(project, *fit)
    assert "unchanged" in maskx(project, *fit).stderr
    glove.write_text("".join(f"{word} {n} {n % 5}\n" for n, word in enumerate(words)))
    assert "embedding file" in maskx(project, *fit, code=1).stderr


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("oracle+mlp+xy+boxes", ("--embedding", "none", "--class-specific", "--mask-branch", "fcn+mlp")),
        ("randn-published-3layer+xy+boxes",
         ("--embedding", "randn", "--form", "published", "--layers", "3")),
    ],
)  # fmt: skip
def test_other_models_are_evaluated_alike_from_cache_and_images(project, name, options):
    """Rule 3 for the rows of the paper's tables: the same AP, to the last digit."""
    maskx(project, "fit-transfer", *options, "--epochs", "1")
    results = []
    for origin in ("cache", "images"):
        maskx(project, "evaluate", "--model", f"runs/transfer/{name}", "--from", origin)
        file = project / "runs/transfer" / name / "evaluation" / f"{origin}-best" / "results.json"
        results.append(json.loads(file.read_text()))
    assert len(results[0]) > 0
    assert results[0] == results[1]


def test_results_load_in_plain_pycocotools_and_give_the_same_ap(project):
    """`maskx evaluate` reports what anyone gets from its results file with pycocotools alone."""
    model = "runs/transfer/cls+box-rbf+xy+boxes"
    maskx(project, "evaluate", "--model", model)
    folder = project / model / "evaluation" / "cache-best"
    kept = {path: path.read_text() for path in (*folder.glob("results*.json"), folder / "run.json")}
    val = json.loads((project / "data/shapes/val.json").read_text())
    rng = np.random.default_rng(0)
    found = []  # a detector this tiny finds nothing, and 0 == 0 would prove nothing: so the truth, displaced
    for entry in val["annotations"]:
        box = (np.array(entry["bbox"]) + rng.integers(-3, 4, size=4)).clip(1).tolist()
        found.append({"image_id": entry["image_id"], "category_id": entry["category_id"], "bbox": box,
                      "score": float(rng.random()), "segmentation": entry["segmentation"]})  # fmt: skip
    write_results(folder / "results.json", found)
    run_file = read_json_file(folder / "run.json")
    run_file["files"] |= digests_of(folder, folder.glob("results*.json"))  # as if evaluate had found these
    write_json(folder / "run.json", run_file)
    report = json.loads(maskx(project, "evaluate", "--model", model, "--split", "unseen", "--json").stdout)
    with contextlib.redirect_stdout(None):
        truth = COCO(str(project / "data/shapes/val.json"))
        train = json.loads((project / "data/shapes/train.json").read_text())
        masked = {a["category_id"] for a in train["annotations"] if a.get("segmentation")}
        for kind in ("bbox", "segm"):
            file = folder / ("results.json" if kind == "segm" else "results_bbox.json")
            evaluation = COCOeval(truth, truth.loadRes(str(file)), kind)
            evaluation.params.catIds = sorted({c["id"] for c in train["categories"]} - masked)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            reported = report["sets"]["unseen"]["mask" if kind == "segm" else "box"]["AP"]
            assert reported > 1
            assert reported == pytest.approx(100 * evaluation.stats[0], abs=1e-9)
    for path, text in kept.items():
        path.write_text(text)


def test_ap_from_cached_detections_equals_ap_from_images(project):
    """Rule 3, through the command line, to the last digit."""
    model = "runs/transfer/cls+box-rbf+xy+boxes"
    cached = json.loads(maskx(project, "evaluate", "--model", model, "--from", "cache", "--json").stdout)
    live = json.loads(maskx(project, "evaluate", "--model", model, "--from", "images", "--json").stdout)
    assert cached["sets"] == live["sets"]
    assert cached["at_boxes"] == live["at_boxes"]
    assert cached["at_boxes"]["sets"]["seen"]["objects"] > 0
    folder = project / model / "evaluation"
    same = [json.loads((folder / f"{kind}-best" / "results.json").read_text()) for kind in ("cache", "images")]
    assert len(same[0]) > 0
    assert same[0] == same[1]


def test_masks_at_the_true_boxes_stand_beside_their_rivals(project, tmp_path):
    """The class-agnostic run of the same masks, shapes, and the true masks as a file, which nothing can beat."""
    shutil.copytree(project, tmp_path / "project")
    folder = tmp_path / "project"
    maskx(folder, "evaluate", "--model", "runs/transfer/agnostic+xy+boxes")
    model, truth = "runs/transfer/cls+box-rbf+xy+boxes", "data/shapes/val.json"
    done = maskx(folder, "evaluate", "--model", model, "--against", truth)
    assert "the class-agnostic agnostic+xy+boxes" in done.stdout
    first = done.stdout.splitlines()[2]
    assert f"Seen categories: {truth} is AHEAD of this model by more than chance, 100.0 to" in first
    report = json.loads(maskx(folder, "evaluate", "--model", model, "--against", truth, "--json").stdout)
    seen = report["at_boxes"]["sets"]["seen"]
    assert seen["iou"][truth] == {"mean": 100.0, "low": 100.0, "high": 100.0}
    assert seen["best_rival"] == truth
    assert maskx(folder, "evaluate", "--model", model, "--against", "maskx.toml", code=1).stderr.count("maskx.toml")
    table = maskx(folder, "compare", model, "runs/transfer/agnostic+xy+boxes").stdout
    assert "the ellipse in the box" in table
    assert "Unseen categories: " in table
    assert "seen IoU" in table


def test_a_model_fitted_to_eight_bits_is_evaluated_alike_from_cache_and_images(project):
    """Of another cache of the same detector, whose val is float16 as ever."""
    maskx(project, "export-embeddings", "--feature-dtype", "int8", "--out", "runs/int8.h5")
    maskx(project, "fit-transfer", "--embedding", "cls+box", "--cache", "runs/int8.h5", "--name", "eight")
    results = []
    for origin in ("cache", "images"):
        maskx(project, "evaluate", "--model", "runs/transfer/eight", "--from", origin)
        file = project / "runs/transfer/eight/evaluation" / f"{origin}-best" / "results.json"
        results.append(json.loads(file.read_text()))
    assert len(results[0]) > 0
    assert results[0] == results[1]
    eight, half = (
        load_file(project / "runs/transfer" / n / "last.safetensors") for n in ("eight", "cls+box-rbf+xy+boxes")
    )
    assert any((eight[name] != half[name]).any() for name in half)


def test_unseen_masks_never_leak_through_the_whole_line(project, tmp_path):
    """Rule 1: with every unseen training mask corrupted, export and fit give bit-identical weights."""
    train = json.loads((project / "data/shapes/train.json").read_text())
    names = sorted({c["name"] for c in train["categories"]})
    masked = {a["category_id"] for a in train["annotations"] if a.get("segmentation")}
    seen = [c["name"] for c in train["categories"] if c["id"] in masked][:2]
    assert len(names) > len(seen)
    (tmp_path / "seen.txt").write_text("\n".join(seen), encoding="utf-8")
    seen_ids = {c["id"] for c in train["categories"] if c["name"] in seen}
    corrupted = 0
    for annotation in train["annotations"]:
        if annotation["category_id"] in masked - seen_ids and annotation.get("segmentation"):
            x, y, _, _ = annotation["bbox"]
            annotation["segmentation"] = [[x, y, x + 2, y, x + 2, y + 2]]
            corrupted += 1
    assert corrupted > 0
    (tmp_path / "train.json").write_text(json.dumps(train), encoding="utf-8")
    toml = (project / "maskx.toml").read_text(encoding="utf-8")
    for key in ("train-images", "val-images", "val-annotations"):
        toml = toml.replace(f'{key} = "', f'{key} = "{project}/')
    toml = toml.replace('train-annotations = "data/shapes/', f'train-annotations = "{tmp_path}/')
    (tmp_path / "maskx.toml").write_text(toml, encoding="utf-8")
    split = f"@{tmp_path / 'seen.txt'}"
    for folder, name in ((project, "clean"), (tmp_path, "corrupted")):
        detector = str(project / "runs/detector")
        if folder == tmp_path:
            maskx(folder, "export-embeddings", "--detector", detector)
        maskx(folder, "fit-transfer", "--split", split, "--name", name)
    for file_name in ("best.safetensors", "last.safetensors"):
        clean = load_file(project / "runs/transfer/clean" / file_name)
        other = load_file(tmp_path / "runs/transfer/corrupted" / file_name)
        assert clean.keys() == other.keys()
        assert all(np.array_equal(clean[key], other[key]) for key in clean)
    with h5py.File(project / "runs/cache.h5") as one, h5py.File(tmp_path / "runs/cache.h5") as two:
        assert not np.array_equal(one["train/targets"][()], two["train/targets"][()])


def test_predict_leaves_overlays_and_a_results_file(project):
    """Overlays for people, COCO results for machines."""
    out = maskx(project, "predict", "data/shapes/val", "--limit", "3", "--score-threshold", "0.01").stdout.strip()
    assert len(list((project / out).glob("*.jpg"))) == 3
    assert isinstance(json.loads((project / out / "results.json").read_text()), list)
    assert "--overwrite" in maskx(project, "predict", "data/shapes/val", code=1).stderr


def test_compare_prints_what_the_runs_recorded(project):
    """The table's numbers are those of the evaluations, in every format."""
    runs = ["runs/transfer/cls+box-rbf+xy+boxes", "runs/transfer/agnostic+xy+boxes"]
    for folder in runs:
        maskx(project, "evaluate", "--model", folder)
    report = json.loads(maskx(project, "evaluate", "--model", runs[0], "--json").stdout)
    printed = maskx(project, "compare", *runs, "--format", "json").stdout
    assert json.dumps(report["sets"]["unseen"]["mask"]["AP"]) in printed
    for style in ("text", "markdown", "csv"):
        printed = maskx(project, "compare", *runs, "--format", style).stdout
        assert "agnostic+xy+boxes" in printed
        assert "cls+box-rbf+xy+boxes" in printed


def test_doctor_lists_categories_and_exits_with_3_where_training_would_go_wrong(project, tmp_path):
    """A sound data set is 0; one without any mask is 3, and says so."""
    assert "seen" in maskx(project, "doctor").stdout
    train = json.loads((project / "data/shapes/train.json").read_text())
    for annotation in train["annotations"]:
        annotation["segmentation"] = []
    (tmp_path / "train.json").write_text(json.dumps(train), encoding="utf-8")
    data = project / "data/shapes"
    maskx(
        tmp_path, "init", "--train-images", str(data / "train"), "--train-annotations", "train.json",
        "--val-images", str(data / "val"), "--val-annotations", str(data / "val.json"),
    )  # fmt: skip
    done = maskx(tmp_path, "doctor", code=3)
    assert "mask" in done.stderr


def test_dry_run_of_export_writes_nothing(project, tmp_path):
    """RoIs, bytes and time, and no file."""
    out = tmp_path / "other.h5"
    plan, eight = (
        json.loads(maskx(project, "export-embeddings", "--out", str(out), "--dry-run", "--json", *options).stdout)
        for options in ((), ("--feature-dtype", "int8"))
    )
    assert plan["rois"] == eight["rois"]
    assert plan["bytes"] > eight["bytes"] > plan["bytes"] / 2
    assert not list(tmp_path.iterdir())


def test_a_project_is_found_from_elsewhere(project, tmp_path):
    """--project reads maskx.toml and its relative paths from there."""
    assert json.loads(maskx(tmp_path, "evaluate", "--project", str(project), "--json").stdout)["sets"]
    assert not list(tmp_path.iterdir())


def test_predict_never_replaces_an_image_that_was_given(project, tmp_path):
    """Overlays beside the photos would destroy them, even with --overwrite."""
    photos = tmp_path / "photos"
    photos.mkdir()
    source = next((project / "data/shapes/val").iterdir())
    with Image.open(source) as image:
        image.convert("RGB").save(photos / "one.jpg")
    before = (photos / "one.jpg").read_bytes()
    error = maskx(project, "predict", str(photos), "--out", str(photos), "--overwrite", code=1).stderr
    assert "would replace an image" in error
    assert (photos / "one.jpg").read_bytes() == before
    assert len(list(photos.iterdir())) == 1


def test_a_detector_of_other_categories_is_not_exported(project, tmp_path):
    """The cache would pair the names of one category with the weights of another."""
    train = json.loads((project / "data/shapes/train.json").read_text())
    ids = [entry["id"] for entry in train["categories"]]
    for entry, other in zip(train["categories"], reversed(ids), strict=True):
        entry["id"] = other
    (tmp_path / "train.json").write_text(json.dumps(train), encoding="utf-8")
    toml = (project / "maskx.toml").read_text(encoding="utf-8")
    for key in ("train-images", "val-images"):
        toml = toml.replace(f'{key} = "', f'{key} = "{project}/')
    for key in ("train-annotations", "val-annotations"):
        toml = toml.replace(f'{key} = "data/shapes/{key[:-12]}', f'{key} = "{tmp_path}/train')
    (tmp_path / "maskx.toml").write_text(toml, encoding="utf-8")
    detector = str(project / "runs/detector")
    arguments = ("export-embeddings", "--detector", detector, "--accept", "missing image file")  # val is read as train
    assert "categories" in maskx(tmp_path, *arguments, code=1).stderr
    assert not (tmp_path / "runs").exists()


def test_a_cache_exported_anew_is_not_evaluated_with_an_older_model(project, tmp_path):
    """Other features under the same name: an error with --from cache, the images otherwise, and nothing is lost."""
    cache = str(tmp_path / "cache.h5")
    maskx(project, "export-embeddings", "--out", cache)
    maskx(project, "fit-transfer", "--cache", cache, "--out", str(tmp_path), "--name", "model")
    model = str(tmp_path / "model")
    maskx(project, "evaluate", "--model", model)
    maskx(project, "export-embeddings", "--out", cache, "--seed", "1", "--overwrite")
    error = maskx(project, "evaluate", "--model", model, "--from", "cache", "--overwrite", code=1).stderr
    assert "exported again" in error
    assert (tmp_path / "model/evaluation/cache-best/results.json").is_file()
    assert "images instead" in maskx(project, "evaluate", "--model", model).stderr


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (("detect", "train", "--anchor-sizes", "8,16"), "anchor-sizes"),
        (("detect", "train", "--device", "quux"), "--device"),
        (("fit-transfer", "--embedding", "none", "--epochs", "0.001"), "--epochs"),
        (("fit-transfer", "--embedding", "none", "--device", "quux"), "--device"),
        (("e2e", "--device", "quux"), "--device"),
        (("e2e", "--split", "@data/shapes/unseen.txt"), "has a mask"),
    ],
)
def test_overwrite_removes_nothing_for_a_run_that_cannot_start(project, command, flag):
    """A wrong setting or a missing device is known before an earlier run is removed."""
    before = sorted(project.rglob("*"))
    assert flag in maskx(project, *command, "--overwrite", code=1).stderr
    assert sorted(project.rglob("*")) == before


def test_a_run_that_ended_before_its_first_result_may_be_corrected(project, tmp_path):
    """A wrong setting leaves no folder that blocks the right one."""
    fit = ("fit-transfer", "--out", str(tmp_path), "--name", "again")
    maskx(project, *fit, "--epochs", "0.001", code=1)
    maskx(project, *fit, "--epochs", "1")
    detect = ("detect", "train", "--out", str(tmp_path / "detector"))
    assert "nowhere" in maskx(project, *detect, "--backbone-weights", "nowhere.pth", code=1).stderr
    assert not (tmp_path / "detector").exists()


@pytest.mark.parametrize("command", [("fit-transfer",), ("detect", "train"), ("export-embeddings",)])
def test_a_negative_seed_is_a_known_error(project, command):
    """NumPy's generators take none."""
    assert "too small" in maskx(project, *command, "--seed", "-1", code=1).stderr


def test_a_name_is_not_a_path(project):
    """Such a run would not be found again."""
    assert "plain name" in maskx(project, "fit-transfer", "--name", "../elsewhere", code=1).stderr
