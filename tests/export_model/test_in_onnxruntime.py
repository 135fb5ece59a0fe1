"""`maskx predict` in onnxruntime: the same objects as in PyTorch, and when it is taken."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_world import World
from imported_project import ImportedProject, T, maskx
from PIL import Image
from pycocotools import mask as coco_mask

from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.errors import DataError, MachineError, MaskXError
from maskx_pipeline.evaluation.given_images import given_images
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.export_model import whole_onnx
from maskx_pipeline.export_model.in_onnxruntime import WORTH_A_GRAPH, OnnxModel, in_runtime
from maskx_pipeline.whole_model import WholeModel

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLASSES = 3


@pytest.fixture(scope="module")
def onnx_model(world: World) -> OnnxModel:
    """The model of the world in onnxruntime, as it is asked for."""
    model = in_runtime(world.model, "onnx", num_classes=CLASSES, images=1)
    assert isinstance(model, OnnxModel)
    return model


def photos(folder: Path) -> Path:
    """Three of one size and one of another."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, (height, width) in enumerate([(60, 80), (60, 80), (60, 80), (128, 50)]):
        pixels = generator.integers(0, 256, (height // 10 + 1, width // 10 + 1, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)[:height, :width]).save(folder / f"{number}.png")
    return folder


def results_of(out: Path) -> list[dict[str, Any]]:
    """Masks and boxes of both files that `predict` writes."""
    masks, boxes = (json.loads((out / name).read_text()) for name in ("results.json", "results_bbox.json"))
    return [{**mask, "bbox": box["bbox"]} for mask, box in zip(masks, boxes, strict=True)]


def assert_same_results(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    """The same objects in the same order: boxes to 0.02 px, scores to 1e-4, and 99.5 % of the pixels."""
    assert len(theirs) == len(ours)
    different = pixels = 0
    for one, two in zip(theirs, ours, strict=True):
        for name in ("image_id", "category_id", "file_name"):
            assert one[name] == two[name]
        np.testing.assert_allclose(one["bbox"], two["bbox"], atol=4e-2)  # a width is a difference of two
        np.testing.assert_allclose(one["score"], two["score"], atol=1e-4)
        masks = [coco_mask.decode(result["segmentation"]) for result in (one, two)]
        different, pixels = different + int((masks[0] != masks[1]).sum()), pixels + masks[0].size
    assert different < 0.005 * pixels


@pytest.mark.parametrize(("batch", "limit", "expected"), [(1, 0, 4), (2, 3, 3)])
def test_predict_writes_what_it_does_in_pytorch(
    world: World, onnx_model: OnnxModel, tmp_path: Path, batch: int, limit: int, expected: int
) -> None:
    """Of images of several sizes, with batches and a limit; boxes lie in their images."""
    given = given_images([photos(tmp_path / "in")])
    results = []
    for name, each in (("onnx", onnx_model), ("torch", world.model)):
        predict_folder(
            each,
            given,
            out=tmp_path / name,
            categories=world.val.categories,
            seen=[1],
            score_threshold=0.0,
            batch=batch,
            limit=limit,
        )
        results.append(results_of(tmp_path / name))
    assert_same_results(*results)
    assert len({result["image_id"] for result in results[0]}) == expected
    for result in results[0]:
        x, y, width, height = result["bbox"]
        rows, columns = result["segmentation"]["size"]
        assert min(x, y) >= 0
        assert x + width <= columns
        assert y + height <= rows


def test_mask_probabilities_are_those_of_pytorch(world: World, onnx_model: OnnxModel) -> None:
    """Before they are pasted, to 0.005; the graph sees the very values of the image."""
    image = torch.arange(256).repeat(3, 16, 1)[:, :, :200].float() / 255
    found, ours = onnx_model.predict(image), world.model.predict(image)
    assert len(ours) > 0
    assert found.labels.tolist() == ours.labels.tolist()
    torch.testing.assert_close(found.mask_probs, ours.mask_probs, atol=5e-3, rtol=0)


def test_an_image_that_is_too_narrow_is_the_same_error(world: World, onnx_model: OnnxModel) -> None:
    image = torch.zeros(3, 1, 200)
    said = []
    for model in (onnx_model, world.model):
        with pytest.raises(DataError, match="too narrow") as raised:
            model.predict(image)
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_it_has_the_threads_of_pytorch_and_leaves_no_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes share the cores as torchrun tells PyTorch."""
    options = []
    real = onnxruntime.InferenceSession

    def session(path: str, given: Any, **more: Any) -> Any:
        options.append(given)
        return real(path, given, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    OnnxModel(world.model, num_classes=CLASSES)
    assert [each.intra_op_num_threads for each in options] == [3]
    assert not list(tmp_path.iterdir())


def with_detector(model: WholeModel, **changes: Any) -> WholeModel:
    """The same model, whose detector looks otherwise."""
    detector = model.detector
    assert isinstance(detector, FrozenDetector)
    cpu: dict[str, Any] = {"device": torch.device("cpu"), "amp_dtype": None}
    return dataclasses.replace(model, detector=FrozenDetector(detector.detector, **cpu | changes))


def on_a_gpu(model: WholeModel) -> WholeModel:
    made = dataclasses.replace(model)
    made.device = torch.device("cuda", 0)
    return made


def of_another_class(model: WholeModel) -> WholeModel:
    return dataclasses.replace(model, detector=SimpleNamespace(amp_dtype=None))  # type: ignore[arg-type]


def in_bf16(model: WholeModel) -> WholeModel:
    return dataclasses.replace(model, amp_dtype=torch.bfloat16)


def detector_in_bf16(model: WholeModel) -> WholeModel:
    return with_detector(model, amp_dtype=torch.bfloat16)


def test_auto_takes_onnxruntime_for_many_images_in_float32(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is said in one line; with few images nothing is said, nor where PyTorch is asked for."""
    with caplog.at_level(logging.INFO, logger="maskx"):
        for runtime, images in (("auto", WORTH_A_GRAPH - 1), ("torch", 10**6)):
            assert in_runtime(world.model, runtime, num_classes=CLASSES, images=images) is world.model
        assert not caplog.text
        chosen = in_runtime(world.model, "auto", num_classes=CLASSES, images=WORTH_A_GRAPH)
    assert isinstance(chosen, OnnxModel)
    assert len(caplog.messages) == 1
    assert "onnxruntime" in caplog.text


@pytest.mark.parametrize("change", [in_bf16, detector_in_bf16, on_a_gpu, of_another_class])
def test_auto_stays_with_pytorch_where_onnxruntime_would_be_slower_or_cannot_be(
    world: World, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """And says nothing."""
    model = change(world.model)
    with caplog.at_level(logging.INFO, logger="maskx"):
        assert in_runtime(model, "auto", num_classes=CLASSES, images=10**6) is model
    assert not caplog.text


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing(world: World, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """auto does without; asked for, it is an error that says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    assert in_runtime(world.model, "auto", num_classes=CLASSES, images=10**6) is world.model
    with pytest.raises(MachineError, match=f"the package {package}") as raised:
        in_runtime(world.model, "onnx", num_classes=CLASSES, images=1)
    assert package in str(raised.value.hint)
    assert "pip install" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [(on_a_gpu, "cuda:0", "--device cpu"), (of_another_class, "another class", "--runtime torch")],
)
def test_where_onnxruntime_cannot_be_asking_for_it_is_an_error(
    world: World, change: Any, message: str, hint: str
) -> None:
    with pytest.raises(MaskXError, match=message) as raised:
        in_runtime(change(world.model), "onnx", num_classes=CLASSES, images=1)
    assert hint in str(raised.value.hint)


def test_a_model_that_cannot_be_exported(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """auto says so and goes on in PyTorch; asked for, it is an error."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(whole_onnx, "write_whole_onnx", fail)
    assert in_runtime(world.model, "auto", num_classes=CLASSES, images=10**6) is world.model
    assert "no such operator" in caplog.text
    with pytest.raises(MachineError, match="no such operator") as raised:
        in_runtime(world.model, "onnx", num_classes=CLASSES, images=1)
    assert "--runtime torch" in str(raised.value.hint)


def test_the_command_takes_it(imported_project: ImportedProject, tmp_path: Path) -> None:
    """An imported detector, whose classes are more than those of the data."""
    folder = imported_project.folder
    results = {}
    for runtime in ("onnx", "torch"):
        out = tmp_path / runtime
        words = ("--model", f"runs/transfer/{T}", "--device", "cpu", "--out", str(out), "--score-threshold", "0")
        said = maskx(folder, "predict", *words, "--runtime", runtime, "--limit", "2", "--batch", "2").stderr
        assert ("onnxruntime" in said) is (runtime == "onnx")
        results[runtime] = results_of(out)
    assert len(results["torch"]) >= 5
    assert_same_results(results["onnx"], results["torch"])
