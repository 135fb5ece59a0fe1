"""Anyone's detector in every command: one of a few lines, and the class of docs/how-to/other-detector.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from own_detector import SMALL, export, fit, make_project, write_toml

import maskx_pipeline
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.commands import run
from maskx_pipeline.detection.detector_class import make_detector
from maskx_pipeline.errors import ConfigError, RunError

DOCS = Path(__file__).parents[1] / "docs" / "how-to"
SHARED = Path(__file__).parents[2] / "shared"
YOLOX, COCO_MINI = SHARED / "yolox-nano" / "yolox_nano.onnx", SHARED / "coco-mini"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What an error of a command says."""
    capsys.readouterr()
    assert run(words) == 1
    return capsys.readouterr().err


def test_the_cache_holds_what_the_detector_gave(project: Path) -> None:
    """Its sizes, its class weights, its detections, and RoIs of every object with a mask."""
    assert export() == 0
    with RoICache(Path("runs/cache.h5")) as cache:
        assert (cache.channels, cache.roi_size, cache.mask_size, cache.class_weights.w_cls.shape[1]) == (4, 3, 6, 5)
        assert cache.class_weights.w_box.shape == (2, 0)
        assert cache.identity.detector_sha256 == "tiny"
        assert cache.detections.labels.tolist() == [2, 2]
        assert cache.detections.scores.tolist() == [0.75, 0.75]
        assert sorted(set(cache.train.annotation_ids.tolist())) == [13, 17, 23, 27]
        assert cache.ground_truth.labels.tolist() == [1, 2, 1, 2]
        row = np.flatnonzero(cache.train.ious < 1)[:1]  # the proposal
        np.testing.assert_array_equal(
            cache.read_features("train", row)[0, :, 0, 0], np.float16([0.1, 0.15, 0.85, 0.65])
        )


def test_its_features_may_be_stored_in_eight_bits(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only those of train; and this is a setting of the cache like any other."""
    assert export("--feature-dtype", "int8") == 0
    with RoICache(Path("runs/cache.h5")) as cache:
        scales, values = cache.read_stored("train", [0])
        np.testing.assert_allclose(scales[0] * 127, cache.train.boxes[0] / 40, rtol=1e-3)
        assert (values == 127).all()
        assert len(cache.read_stored("detections", [0])) == 1
    assert "feature-dtype: int8 -> float16" in told(capsys, "export-embeddings", "--detector", "tiny.py:Tiny")


def test_colours_and_objects_without_masks_are_settings_of_the_cache(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By options of the command; a value that means nothing is an error that names the option."""
    assert export("--colours", "--unmasked-objects", "5") == 0
    with RoICache(Path("runs/cache.h5")) as cache:
        assert cache.dimensions.colours
        assert cache.identity.export["unmasked_objects"] == "5"
    error = told(capsys, "export-embeddings", "--detector", "tiny.py:Tiny")
    assert "colours: true -> false" in error
    assert "unmasked-objects: 5 -> 1000" in error
    for value in ("-1", "many"):
        assert f"unmasked-objects: `{value}`" in told(capsys, "export-embeddings", "--unmasked-objects", value)


def test_a_finished_cache_is_not_written_again_and_another_detector_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The detector is known by its identity; what only a run of maskx has makes no difference."""
    assert export() == 0
    Path("looked.txt").unlink()
    assert export("--amp", "off", "--checkpoint", "last") == 0
    assert not Path("looked.txt").exists()
    write_toml(name="other")
    error = told(capsys, "export-embeddings", "--detector", "tiny.py:Tiny")
    assert "detector: tiny -> other" in error


def test_a_plan_is_made_of_it_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four objects with a proposal each, a detection an image, four objects of val."""
    assert export("--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["train_rois"], plan["detection_rois"], plan["ground_truth_rois"]) == (8, 2, 4)
    assert not Path("runs").exists()


def test_class_weights_of_other_categories_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is written."""
    write_toml(rows=3)
    error = told(capsys, "export-embeddings", "--detector", "tiny.py:Tiny")
    assert "class weights of 3 categories" in error
    assert not Path("runs").exists()


def test_a_label_that_is_none_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels count from 1; a detector's classes count from 0."""
    write_toml(label=0)
    error = told(capsys, "export-embeddings", "--detector", "tiny.py:Tiny")
    assert "the label 0; labels are 1 to 2" in error


def test_more_detections_than_it_says_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the first image, before hours have gone by."""
    write_toml(most=0)
    error = told(capsys, "export-embeddings", "--detector", "tiny.py:Tiny")
    assert "found 1 objects in" in error
    assert "its detections_per_image is 0" in error


def test_a_file_with_a_dataclass_is_imported(tmp_path: Path) -> None:
    """Which looks its own module up; a file that fails leaves nothing behind."""
    lines = ["from __future__ import annotations", "from dataclasses import dataclass", "", "@dataclass", "class Half:"]
    (tmp_path / "half.py").write_text("\n".join([*lines, "    channels: int = 3", ""]), encoding="utf-8")
    with pytest.raises(ConfigError, match="it has no categories, class_weights"):
        make_detector(tmp_path / "half.py:Half", {})
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError \(broken\.py, line 1\)"):
        make_detector(tmp_path / "broken.py:Half", {})
    assert "maskx_detector_broken" not in sys.modules


@pytest.mark.parametrize(
    ("place", "settings", "reason"),
    [
        ("none.py:Tiny", {}, "none.py does not exist"),
        ("tiny.py:Huge", {}, "has no class Huge"),
        ("tiny.py:Half", {}, "it has no categories, class_weights, detections_per_image, identity, extract"),
        ("tiny.py:Tiny", {"lable": 1}, "got an unexpected keyword argument 'lable'"),
        ("tiny:Tiny", {}, "tiny cannot be imported"),  # a module, and the working directory holds no modules
        ("runs/tiny", {}, "holds no run"),
    ],
)
def test_what_is_no_detector_is_refused_with_the_reason(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str,
    settings: dict[str, int], reason: str,
) -> None:  # fmt: skip
    """As a file, as a class, by its parts, by its settings, as a module, and as a run."""
    monkeypatch.syspath_prepend(str(project))  # as under `python -m`
    write_toml(**settings)
    assert reason in told(capsys, "export-embeddings", "--detector", place)


def test_a_class_of_an_installed_package_is_taken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its module."""
    site = project / "site"
    site.mkdir()
    Path("tiny.py").rename(site / "tiny_of_a_package.py")
    monkeypatch.syspath_prepend(str(site))
    assert run(["export-embeddings", "--detector", "tiny_of_a_package:Tiny"]) == 0
    detector = ["--detector", "tiny_of_a_package:Tiny"]
    assert run(["fit-transfer", "--embedding", "cls", "--name", "tiny", *SMALL, *detector]) == 0
    assert json.loads(Path("runs/transfer/tiny/run.json").read_text())["detector"] == "tiny_of_a_package:Tiny"
    assert run(["predict", "data/1.png", *detector]) == 0


def test_a_model_of_it_predicts_evaluates_and_annotates(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the class that maskx.toml names; AP from the images is that from the cache."""
    write_toml(detector="tiny.py:Tiny")
    fit()
    assert "is not the detector" not in capsys.readouterr().err
    assert json.loads(Path("runs/transfer/tiny/run.json").read_text())["detector"] == "../../../tiny.py:Tiny"
    reports = []
    for source in ("cache", "images"):
        capsys.readouterr()
        assert run(["evaluate", "--from", source, "--json"]) == 0
        reports.append(json.loads(capsys.readouterr().out)["sets"])
    assert reports[0] == reports[1]
    assert run(["predict", "data/1.png"]) == 0
    found = json.loads(Path("predictions/results.json").read_text())
    assert [(entry["category_id"], entry["score"]) for entry in found] == [(7, 0.75)]
    content = json.loads(Path("data/all.json").read_text())
    for entry in content["annotations"]:
        entry.pop("segmentation")
    Path("boxes.json").write_text(json.dumps(content))
    assert run(["annotate", "boxes.json", "--images", "data"]) == 0
    assert len(json.loads(Path("annotated.json").read_text())["annotations"]) == 4
    assert run(["annotate", "data/all.json", "--images", "data", "--evaluate"]) == 0
    assert run(["contact-sheet", "data/1.png", "--model", "runs/transfer/tiny"]) == 0


@pytest.mark.parametrize("command", [["predict", "data/1.png"], ["evaluate", "--from", "images"]])
def test_a_run_alone_imports_nothing(project: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    """A class that run.json names is imported only if the user names it too: in maskx.toml, or with --detector."""
    fit()
    Path("imported.txt").unlink()
    error = told(capsys, *command)
    assert "is imported only if you name it yourself" in error
    assert "tiny.py:Tiny" in error
    assert not Path("imported.txt").exists()
    write_toml(detector="other.py:Tiny")
    assert "is imported only if you name it yourself" in told(capsys, *command)
    assert run([*command, "--detector", "tiny.py:Tiny"]) == 0
    assert Path("imported.txt").exists()


def test_another_detector_than_that_of_the_model_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its features would mean something else."""
    fit()
    write_toml(name="other")
    error = told(capsys, "predict", "data/1.png", "--detector", "tiny.py:Tiny")
    assert "was fitted on the detector tiny, but this one is other" in error


def test_a_model_takes_its_detector_from_python(project: Path) -> None:
    """Nothing is imported then."""
    write_toml(detector="tiny.py:Tiny")
    fit()
    detector = make_detector(Path("tiny.py:Tiny"), {})
    model = maskx_pipeline.load("runs/transfer/tiny", device="cpu", detector=detector)
    found = model.predict("data/1.png")
    assert (found.names, found.labels.tolist()) == (("cow",), [2])
    with pytest.raises(RunError, match="in Python, give it to load"):
        maskx_pipeline.load("runs/transfer/tiny", device="cpu")


def test_what_needs_faster_rcnn_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Export to torchvision, and joint training."""
    fit()
    for command in (["export-model"], ["e2e", "--init", "runs/transfer/tiny", "--roi-size", "3"]):
        assert "This needs a Faster R-CNN of maskx" in told(capsys, *command)


def test_a_model_of_another_programs_cache_is_evaluated_and_images_are_refused_with_the_reason(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the run folder of a detector."""
    assert export() == 0
    assert run(["fit-transfer", "--embedding", "cls", "--name", "tiny", *SMALL]) == 0
    assert "unless another program wrote the cache" in capsys.readouterr().err
    assert run(["evaluate", "--from", "cache"]) == 0
    error = told(capsys, "predict", "data/1.png")
    assert "is not at" in error
    assert "evaluate --from cache" in error
    assert "The detector has no box weights per category" in told(capsys, "fit-transfer", "--embedding", "box", *SMALL)


def test_the_page_shows_the_script() -> None:
    """Its code block is the file, word for word."""
    page = (DOCS / "other-detector.md").read_text(encoding="utf-8")
    assert f"```python\n{(DOCS / 'other_detector.py').read_text(encoding='utf-8')}```" in page


@pytest.mark.skipif(not YOLOX.is_file() or not COCO_MINI.is_dir(), reason=f"needs {YOLOX} and {COCO_MINI}")
def test_the_class_of_the_page_is_exported_trained_on_evaluated_and_predicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the first images of coco-mini, with the commands of the page; the detector finds what is there."""
    pytest.importorskip("onnxruntime", reason="comes with the extra dev")
    monkeypatch.chdir(tmp_path)
    words = ["init"]
    for part, count in (("train", 4), ("val", 3)):
        file = COCO_MINI / "annotations" / f"instances_{part}2017.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["images"] = content["images"][:count]
        ids = {image["id"] for image in content["images"]}
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in ids]
        Path(part).mkdir()
        for image in content["images"]:
            Path(part, image["file_name"]).symlink_to(COCO_MINI / f"{part}2017" / image["file_name"])
        Path(f"{part}.json").write_text(json.dumps(content), encoding="utf-8")
        words += [f"--{part}-images", part, f"--{part}-annotations", f"{part}.json"]
    assert run(words) == 0
    detector = ["--detector", f"{DOCS / 'other_detector.py'}:YoloxNano"]
    with Path("maskx.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[detector]\nfile = "{YOLOX}"\nimages = "train"\n')
    assert run(["export-embeddings", *detector]) == 0
    with RoICache(Path("runs/cache.h5")) as cache:
        assert cache.class_weights.w_cls.shape[1] == 192
        assert (cache.channels, cache.roi_size, cache.mask_size) == (96, 14, 28)
        features = cache.read_features("ground_truth", range(len(cache.ground_truth))).astype(np.float32)
        assert 0.5 < features.std() < 3
        names = [category.name for category in cache.categories if category.label in cache.train.labels[::2]]
    Path("seen.txt").write_text("\n".join(names[:3]), encoding="utf-8")
    assert run(["fit-transfer", "--embedding", "cls", "--split", "@seen.txt", *SMALL, *detector]) == 0
    capsys.readouterr()
    assert run(["evaluate", "--split", "all", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["from"] == "cache"
    assert report["sets"]["all"]["box"]["AP50"] > 20
    photo = next(Path("val").iterdir())
    assert run(["predict", str(photo), *detector]) == 0
    assert (Path("predictions") / photo.name).is_file()
    assert json.loads(Path("predictions/results.json").read_text())
