"""The whole model in onnxruntime finds and segments what maskx does in PyTorch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imported_project import ImportedProject, T, maskx
from PIL import Image
from torchvision_models import SIZE, as_if_trained, blocks, calibrate

from maskx_pipeline.config import DetectConfig
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.load import empty_detector
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.whole_onnx import OUTPUTS, WholeGraph, paste_all, write_whole_onnx
from maskx_pipeline.model_run import open_model
from maskx_pipeline.transfer.heads.fcn import FCNMaskHead
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.mask_predictors import ClassSpecificPredictor
from maskx_pipeline.whole_model import Instances, WholeModel

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def in_onnxruntime(path: Path, image: np.ndarray[Any, Any], *names: str) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(str(path), options)
    run = onnxruntime.RunOptions()
    run.only_execute_path_to_fetches = True
    return dict(zip(names or OUTPUTS, session.run(names or None, {"image": image}, run), strict=True))


def photo(height: int, width: int, *, seed: int) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray((blocks(height, width, seed=seed) * 255).byte().permute(1, 2, 0).numpy())


def assert_same(theirs: dict[str, Any], ours: Instances, height: int, width: int) -> None:
    """The same objects in the same order: boxes to 0.02 px, scores to 1e-4, masks to 5e-3, and 99.5 % of the pixels."""
    assert theirs["labels"].tolist() == ours.labels.tolist()
    np.testing.assert_allclose(theirs["boxes"], ours.boxes_xyxy, atol=2e-2)
    np.testing.assert_allclose(theirs["scores"], ours.scores, atol=1e-4)
    np.testing.assert_allclose(theirs["mask_probs"], ours.mask_probs, atol=5e-3)
    pasted = paste(ours.mask_probs, ours.boxes_xyxy, height, width).astype(bool)
    assert theirs["masks"].shape == pasted.shape
    assert theirs["masks"].dtype == np.bool_
    if len(pasted):
        assert 0.001 < pasted.mean() < 0.999
        assert (theirs["masks"] != pasted).mean() < 0.005


def whole_of(image: np.ndarray[Any, Any], model: WholeModel) -> Instances:
    return model.predict(torch.from_numpy(image).permute(2, 0, 1).float() / 255)


def export(project: ImportedProject, run: str, path: Path) -> str:
    """The printed code."""
    options = ("--format", "onnx-whole", "--model", f"runs/transfer/{run}", "--out", str(path))
    return maskx(project.folder, "export-model", *options)[0].split("\n\n", 1)[1]


@pytest.mark.parametrize("run", [T, "coordinates"])
def test_the_file_finds_and_segments_what_maskx_does(
    imported_project: ImportedProject, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For images of any size, with an imported detector's other classes; and the printed code runs."""
    path = tmp_path / "model.onnx"
    code = export(imported_project, run, path)
    model = open_model(imported_project.folder / "runs/transfer" / run).whole_model("cpu")
    counts = []
    for number, (height, width) in enumerate([(64, 96), (200, 100), (77, 333), (8, 8)]):
        image = photo(height, width, seed=number)
        ours = whole_of(image, model)
        assert_same(in_onnxruntime(path, image), ours, height, width)
        counts.append(len(ours))
    assert max(counts) >= 5
    note = json.loads((tmp_path / "model.onnx.json").read_text())
    assert (note["image"][:16], note["detections_per_image"], note["code"]) == ("uint8 [H, W, 3],", 100, code)
    some = in_onnxruntime(path, image, "boxes", "mask_probs")  # without the masks of the image
    np.testing.assert_array_equal(some["mask_probs"], in_onnxruntime(path, image)["mask_probs"])
    shutil.copy(imported_project.photo, tmp_path / "photo.jpg")  # Pillow looks at the content
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["boxes"]) == len(names["masks"]) >= 5
    assert names["masks"].shape[1:] == np.asarray(Image.open("photo.jpg")).shape[:2]


def test_nothing_found_is_no_error(tmp_path: Path) -> None:
    """Every output has no row."""
    _, mask_model, detector = tiny()
    detector.roi_heads.score_thresh = 1.1
    graph = WholeGraph(
        detector, BakedMaskHead(mask_model, 3), roi_size=14, pooling="finest+assigned", half_features=True
    )
    write_whole_onnx(tmp_path / "model.onnx", graph)
    found = in_onnxruntime(tmp_path / "model.onnx", photo(50, 70, seed=0))
    assert [found[name].shape for name in OUTPUTS] == [(0, 4), (0,), (0,), (0, 28, 28), (0, 50, 70)]


def tiny(**changes: object) -> tuple[DetectConfig, MaskModel, Any]:
    """A narrow detector that finds something, and a mask head for features of ``channels``."""
    torch.manual_seed(0)
    settings = {"backbone": "resnet18", "fpn_channels": 16, "box_head_dim": 32, "backbone_weights": "none"}
    config = DetectConfig.from_mapping(
        {**settings, "norm": "frozen", "min_size": SIZE, "max_size": 200, "rpn_post_nms": 100, **changes}, source=""
    )
    detector = as_if_trained(empty_detector(config, num_classes=4))
    calibrate(detector, [blocks(128, 112, seed=0)])
    head = FCNMaskHead(in_channels=32, width=8, depth=1)
    predictor = ClassSpecificPredictor(in_channels=8, num_classes=3)
    torch.nn.init.normal_(predictor.weight)
    return config, MaskModel(head=head, predictor=predictor), detector


@pytest.mark.parametrize("changes", [{}, {"architecture": "v2"}])
def test_two_maps_and_both_architectures_are_exported(tmp_path: Path, changes: dict[str, object]) -> None:
    """The features of the finest map first; without rounding to float16, as of joint training."""
    _, mask_model, detector = tiny(**changes)
    cpu = torch.device("cpu")
    frozen = FrozenDetector(detector, device=cpu, amp_dtype=None, pooling="finest+assigned")
    ours = WholeModel(frozen, mask_model, roi_size=14, device=cpu, half_features=False)
    graph = WholeGraph(
        detector, BakedMaskHead(mask_model, 3), roi_size=14, pooling="finest+assigned", half_features=False
    )
    write_whole_onnx(tmp_path / "model.onnx", graph)
    image = photo(150, 112, seed=0)
    found = whole_of(image, ours)
    assert len(found) >= 5
    assert_same(in_onnxruntime(tmp_path / "model.onnx", image), found, 150, 112)


def test_masks_are_pasted_as_by_maskx() -> None:
    """To the pixel; of boxes that reach outside, of no width, and of a whole image."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 2, 2, generator=generator) * torch.tensor([90.0, 60.0]) - 10
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    boxes = torch.cat([boxes, torch.tensor([[5.0, 5.0, 5.0, 9.0], [0.0, 0.0, 70.0, 50.0], [-9.0, -9.0, -7.0, -7.0]])])
    probs = torch.rand(len(boxes), 7, 7, generator=generator)
    expected = paste(probs, boxes, 50, 70).astype(bool)
    pasted = paste_all(probs, boxes, torch.zeros(50, 70, 3, dtype=torch.uint8))
    assert 0.01 < expected.mean() < 0.5
    assert int((pasted.numpy() != expected).sum()) <= 2  # of 150,000: values that are 0.5 but for rounding


def test_a_side_is_not_rounded_down_by_a_pixel() -> None:
    """The image is resized to what torchvision's transform makes of it, for sides whose scale is no short fraction."""
    _, mask_model, detector = tiny(min_size=100, max_size=177)
    graph = WholeGraph(detector, BakedMaskHead(mask_model, 3), roi_size=14, pooling="assigned", half_features=True)
    for height, width in [(33, 57), (61, 61), (47, 111), (300, 299), (109, 53), (10, 171)]:
        image = torch.rand(3, height, width)
        batch, _ = graph._resized(image)
        expected, _ = detector.transform([image])
        assert [int(side) for side in batch.image_sizes[0]] == list(expected.image_sizes[0])
        torch.testing.assert_close(batch.tensors, expected.tensors)


def test_a_detector_that_is_gone_is_an_error(imported_project: ImportedProject, tmp_path: Path) -> None:
    """The mask head alone can still be had, and the message says so."""
    folder = imported_project.folder
    (folder / "runs/detector").rename(tmp_path / "gone")
    try:
        said = maskx(
            folder, "export-model", "--format", "onnx-whole", "--model", f"runs/transfer/{T}", "--out", "w.onnx", code=1
        )[1]
    finally:
        (tmp_path / "gone").rename(folder / "runs/detector")
    assert "detector that is not here" in said
    assert "--format onnx" in said
