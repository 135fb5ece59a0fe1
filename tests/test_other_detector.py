"""Anyone's detector through the RoI cache: one of a few lines, and the script of docs/how-to/other-detector.md."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.commands import run
from maskx_pipeline.config import DataConfig, ExportConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.features import Detections
from maskx_pipeline.errors import CacheError, DataError
from maskx_pipeline.stages.foreign import export_foreign

DOCS = Path(__file__).parents[1] / "docs" / "how-to"
SHARED = Path(__file__).parents[2] / "shared"
YOLOX, COCO_MINI = SHARED / "yolox-nano" / "yolox_nano.onnx", SHARED / "coco-mini"
TRIANGLE = [[5.0, 5.0, 35.0, 5.0, 5.0, 25.0]]
SMALL = ["--head-width", "8", "--head-depth", "1", "--epochs", "1", "--rois-per-batch", "8"]


class Tiny:
    """Finds one object, whatever the image; its features are the box itself."""

    channels = 4

    def __init__(self, label: int = 2) -> None:
        self.label = label
        self.images = 0

    def extract(self, image: torch.Tensor) -> SimpleNamespace:
        """See RoIDetector."""
        self.images += 1
        box = torch.tensor([[4.0, 6.0, 34.0, 26.0]])
        return SimpleNamespace(
            detections=Detections(box, torch.tensor([0.75]), torch.tensor([self.label])),
            proposals_xyxy=box,
            pool=lambda boxes, size: (boxes / 40)[:, :, None, None].expand(-1, -1, size, size),
        )


def make_data(folder: Path) -> DataConfig:
    """Two images with an object of each of two categories, for train and val alike."""
    folder.mkdir(parents=True)
    for number in (1, 2):
        Image.fromarray(np.full((30, 40, 3), 100 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "cow"}],
        "annotations": [
            {"id": 10 * n + c, "image_id": n, "category_id": c, "bbox": [5, 5, 30, 20], "segmentation": TRIANGLE,
             "area": 300, "iscrowd": 0}
            for n in (1, 2) for c in (3, 7)
        ],
    }  # fmt: skip
    file = folder / "all.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return DataConfig(train_images=folder, train_annotations=file, val_images=folder, val_annotations=file)


def export(
    folder: Path, detector: Tiny, *, categories: int = 2, sha256: str = "tiny", feature_dtype: str = "float16"
) -> Path:
    """Write runs/cache.h5 of a data set of its own."""
    return export_foreign(
        ExportConfig(
            out=folder / "runs" / "cache.h5", roi_size=3, mask_size=6, rois_per_object=1, feature_dtype=feature_dtype
        ),
        make_data(folder / "data") if not (folder / "data").exists() else data_of(folder),
        detector=detector,
        detector_sha256=sha256,
        class_weights=ClassWeights(
            w_cls=torch.arange(5.0 * categories).reshape(categories, 5), b_cls=torch.zeros(categories),
            w_box=torch.zeros(categories, 0), b_box=torch.zeros(categories, 0),
        ),
        detections_per_image=1,
    )  # fmt: skip


def data_of(folder: Path) -> DataConfig:
    images, file = folder / "data", folder / "data" / "all.json"
    return DataConfig(train_images=images, train_annotations=file, val_images=images, val_annotations=file)


def test_the_cache_holds_what_the_detector_gave(tmp_path: Path) -> None:
    """Its sizes, its class weights, its detections, and RoIs of every object with a mask."""
    with RoICache(export(tmp_path, Tiny())) as cache:
        assert (cache.channels, cache.roi_size, cache.mask_size, cache.embedding_dim) == (4, 3, 6, 5)
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


def test_its_features_may_be_stored_in_eight_bits(tmp_path: Path) -> None:
    """Only those of train; and this is a setting of the cache like any other."""
    with RoICache(export(tmp_path, Tiny(), feature_dtype="int8")) as cache:
        scales, values = cache.read_stored("train", [0])
        np.testing.assert_allclose(scales[0] * 127, cache.train.boxes[0] / 40, rtol=1e-3)
        assert (values == 127).all()
        assert len(cache.read_stored("detections", [0])) == 1
    with pytest.raises(CacheError, match="feature-dtype: int8 -> float16"):
        export(tmp_path, Tiny())


def test_a_finished_cache_is_not_written_again_and_another_detector_is_refused(tmp_path: Path) -> None:
    """The detector is known by its digest."""
    export(tmp_path, Tiny())
    again = Tiny()
    export(tmp_path, again)
    assert again.images == 0
    with pytest.raises(CacheError, match="detector: tiny -> other"):
        export(tmp_path, Tiny(), sha256="other")


def test_class_weights_of_other_categories_are_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(DataError, match=r"class weights of 3 categories, and .* has 2 categories"):
        export(tmp_path, Tiny(), categories=3)
    assert not (tmp_path / "runs").exists()


def test_a_label_that_is_none_is_named(tmp_path: Path) -> None:
    """Labels count from 1; a detector's classes count from 0."""
    with pytest.raises(CacheError, match=r"val/detections/labels\[0\] is 0; labels are 1 to 2"):
        export(tmp_path, Tiny(label=0))


def test_a_model_of_it_is_fitted_and_evaluated_and_images_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the run folder of a detector."""
    export(tmp_path, Tiny())
    data = data_of(tmp_path).to_mapping()
    lines = [f'{name.replace("_", "-")} = "{value}"' for name, value in data.items()]
    (tmp_path / "maskx.toml").write_text("\n".join(["[data]", *lines]), encoding="utf-8")
    with contextlib.chdir(tmp_path):
        assert run(["fit-transfer", "--embedding", "cls", "--name", "tiny", *SMALL]) == 0
        assert "unless another program's detector wrote the cache" in capsys.readouterr().err
        assert run(["evaluate", "--from", "cache"]) == 0
        capsys.readouterr()
        assert run(["predict", "data/1.png"]) == 1
        told = capsys.readouterr().err
        assert "is not at" in told
        assert "evaluate --from cache" in told
        assert run(["fit-transfer", "--embedding", "box", *SMALL]) == 1  # which it has none of
        assert "The detector has no box weights per category" in capsys.readouterr().err


def test_the_page_shows_the_script() -> None:
    """Its code block is the file, word for word."""
    page = (DOCS / "other-detector.md").read_text(encoding="utf-8")
    assert f"```python\n{(DOCS / 'other_detector.py').read_text(encoding='utf-8')}```" in page


@pytest.mark.skipif(not YOLOX.is_file() or not COCO_MINI.is_dir(), reason=f"needs {YOLOX} and {COCO_MINI}")
def test_the_script_writes_a_cache_of_yolox_that_is_trained_on_and_evaluated(
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
    monkeypatch.setattr(sys, "argv", ["other_detector.py", str(YOLOX)])
    runpy.run_path(str(DOCS / "other_detector.py"), run_name="__main__")
    with RoICache(Path("runs/cache.h5")) as cache:
        assert (cache.embedding_dim, cache.channels, cache.roi_size, cache.mask_size) == (192, 32, 14, 28)
        features = cache.read_features("ground_truth", range(len(cache.ground_truth))).astype(np.float32)
        assert 0.5 < features.std() < 3
        names = [category.name for category in cache.categories if category.label in cache.train.labels[::2]]
    Path("seen.txt").write_text("\n".join(names[:3]), encoding="utf-8")
    assert run(["fit-transfer", "--embedding", "cls", "--split", "@seen.txt", *SMALL]) == 0
    capsys.readouterr()
    assert run(["evaluate", "--split", "all", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["from"] == "cache"
    assert report["sets"]["all"]["box"]["AP50"] > 20
