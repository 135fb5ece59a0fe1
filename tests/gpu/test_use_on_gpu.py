"""A model is used on the GPU: predict, annotate, contact-sheet, export-model, report, the Python API, teachers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_world import DEVICE, maskx

import maskx_pipeline


@pytest.fixture(scope="module")
def model(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a mask model without coordinates, which every format can hold."""
    out = tmp_path_factory.mktemp("use")
    maskx(project, "fit-transfer", "--no-coordinates", "--out", str(out), "--name", "run")
    return str(out / "run")


def some_image(project: Path) -> Path:
    return sorted((project / "data/shapes/val").iterdir())[0]


def test_images_are_predicted(project: Path, model: str, tmp_path: Path) -> None:
    maskx(
        project,
        "predict",
        "data/shapes/val",
        "--model",
        model,
        "--score-threshold",
        "0",
        "--out",
        str(tmp_path / "out"),
    )
    assert len(json.loads((tmp_path / "out/results.json").read_text())) > 0


def test_boxes_are_annotated_and_masks_measured(project: Path, model: str, tmp_path: Path) -> None:
    content = json.loads((project / "data/shapes/val.json").read_text())
    for entry in content["annotations"]:
        entry["segmentation"] = []
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    words = ("annotate", str(tmp_path / "boxes.json"), "--images", "data/shapes/val", "--model", model)
    maskx(project, *words, "--out", str(tmp_path / "annotated.json"), "--review", str(tmp_path / "review"))
    filled = json.loads((tmp_path / "annotated.json").read_text())["annotations"]
    assert any(entry["segmentation"] for entry in filled)
    maskx(project, "annotate", "data/shapes/val.json", "--evaluate", "--model", model)


def test_models_are_shown_and_reported(project: Path, model: str, tmp_path: Path) -> None:
    maskx(project, "contact-sheet", "--model", model, "--truth", "--limit", "2", "--out", str(tmp_path / "sheet.png"))
    maskx(project, "evaluate", "--model", model)
    maskx(project, "report", model, "--images", "2", "--out", str(tmp_path / "report.html"))
    assert (tmp_path / "sheet.png").stat().st_size > 0
    assert (tmp_path / "report.html").stat().st_size > 0


@pytest.mark.parametrize(("kind", "ending"), [("torchvision", "safetensors"), ("onnx", "onnx")])
def test_a_model_is_exported(project: Path, model: str, kind: str, ending: str, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    maskx(project, "export-model", "--format", kind, "--model", model, "--out", str(tmp_path / f"exported.{ending}"))
    assert any(tmp_path.iterdir())


def test_python_gets_predictions_on_the_cpu(project: Path, model: str) -> None:
    loaded = maskx_pipeline.load(model, device=DEVICE)
    found = loaded.predict(some_image(project), score_threshold=0)
    assert len(found) > 0
    assert {tensor.device.type for tensor in (found.boxes_xyxy, found.scores, found.labels, found.masks)} == {"cpu"}


@pytest.mark.parametrize("amp_dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_a_teacher_draws(kind: str, amp_dtype: torch.dtype | None, tmp_path: Path) -> None:
    """With random weights; on the GPU as on the CPU but for rounding."""
    from tiny_sam import save_sam, save_sam2

    from maskx_pipeline.teachers.sam import Sam

    weights = {"sam": save_sam, "sam2": save_sam2}[kind](tmp_path / kind)
    image = np.random.default_rng(0).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    boxes = np.array([[10.0, 5, 60, 40], [0, 0, 96, 48], [70, 30, 90, 44]])
    masks = []
    for device in ("cpu", DEVICE):
        teacher = Sam(
            kind=kind, weights=str(weights), revision="main", device=torch.device(device), amp_dtype=amp_dtype,
            boxes_per_batch=2,
        )  # fmt: skip
        masks.append(np.stack(list(teacher.masks(image, boxes))))
    assert np.mean(masks[0] == masks[1]) > (0.98 if amp_dtype is None else 0.8)
