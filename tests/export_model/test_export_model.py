"""`maskx export-model`: the model in torchvision's format, from the command line to the printed code."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from imported_project import ImportedProject, T, maskx
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from maskx_pipeline.config import ExportModelConfig
from maskx_pipeline.data.images import read_image
from maskx_pipeline.evaluation.paste import paste
from maskx_pipeline.model_run import open_model
from maskx_pipeline.stages.export_model import export_model

TOLERANCE = 5e-3
"""Of mask probabilities: maskx rounds RoI features to float16, as the RoI cache does, and torchvision does not."""


def _run_code(code: str, folder: Path, **given: Any) -> dict[str, Any]:
    with contextlib.chdir(folder):
        names: dict[str, Any] = dict(given)
        exec(code, names)
    return names


@torch.no_grad()
def _assert_same(model: MaskRCNN, project: ImportedProject, run: str) -> Tensor:
    """Detections and masks of torchvision's model and of maskx on an image are the same; returns the masks."""
    image = read_image(project.photo) / 255
    probs: list[Tensor] = []
    handle = model.roi_heads.mask_predictor.register_forward_hook(lambda _, __, logits: probs.append(logits.sigmoid()))
    theirs = model([image])[0]
    handle.remove()
    kept = torch.where(theirs["labels"] <= 3)[0]
    assert len(kept) < len(theirs["labels"])  # there is a zebra, which the data set does not have
    ours = open_model(project.folder / "runs" / run).whole_model("cpu")
    found = ours.predict(image)
    assert len(found) >= 5
    count = len(kept)  # of 100 detections, those of zebras take places
    assert found.labels[:count].tolist() == theirs["labels"][kept].tolist()
    torch.testing.assert_close(theirs["scores"][kept], found.scores[:count], atol=1e-4, rtol=0)
    torch.testing.assert_close(theirs["boxes"][kept], found.boxes_xyxy[:count], atol=2e-2, rtol=0)
    ours_pasted = torch.from_numpy(paste(found.mask_probs[:count], found.boxes_xyxy[:count], *image.shape[1:])).bool()
    own = probs[0][kept, theirs["labels"][kept]]
    torch.testing.assert_close(own, found.mask_probs[:count], atol=TOLERANCE, rtol=0)
    differ = (theirs["masks"][kept, 0] > 0.5) != ours_pasted
    assert float(differ.float().mean()) < 0.005
    return theirs["masks"][kept, 0]


@pytest.mark.parametrize(
    ("run", "ending"), [(T, "safetensors"), ("linear", "pth"), ("agnostic", "pth"), ("oracle", "pth")]
)
def test_the_printed_code_loads_a_torchvision_model_with_the_same_masks(
    imported_project: ImportedProject, run: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strictly, whatever the sizes of the detector; T, the class-agnostic baseline, and the oracle with its biases."""
    folder = imported_project.folder
    out, _ = maskx(folder, "export-model", "--model", f"runs/transfer/{run}", "--out", f"out/{run}.{ending}")
    path, code = out.split("\n\n", 1)
    assert path == f"out/{run}.{ending}"
    monkeypatch.setattr(MaskRCNN, "load_state_dict", _strict(MaskRCNN.load_state_dict))
    model = _run_code(code, folder)["model"]
    masks = _assert_same(model, imported_project, f"transfer/{run}")
    assert 0.002 < float((masks > 0.5).float().mean()) < 0.99
    note = json.loads((folder / f"out/{run}.{ending}.json").read_text())
    assert note["code"] == code
    assert (note["num_classes"], note["labels_to_ignore"]) == (5, [4])
    assert [(c["label"], c["id"], c["name"]) for c in note["categories"]] == [
        (1, 5, "cat"),
        (2, 10, "dog"),
        (3, 15, "cow"),
    ]
    assert [c["seen"] for c in note["categories"]] == [True, True, False]


def test_a_joint_model_is_exported_too(imported_project: ImportedProject) -> None:
    """Trained from the imported detector; it holds a detector of its own."""
    folder = imported_project.folder
    maskx(folder, "e2e", "--name", "joint")
    code = maskx(folder, "export-model", "--model", "runs/e2e/joint", "--out", "out/joint.pth")[0].split("\n\n", 1)[1]
    _assert_same(_run_code(code, folder)["model"], imported_project, "e2e/joint")


def _strict(load: Any) -> Any:
    def strictly(self: MaskRCNN, state: dict[str, Tensor], *args: Any) -> Any:
        assert not args
        return load(self, state, strict=True)

    return strictly


def test_kernels_are_those_of_t_and_the_background_has_none(imported_project: ImportedProject) -> None:
    """Row k is w_seg of label k; T gives no bias; the oracle's bias is kept, the baseline's repeated."""
    folder = imported_project.folder
    logits = {}
    for run in (T, "agnostic", "oracle"):
        path = export_model(
            ExportModelConfig.from_mapping(
                {"model": str(folder / "runs/transfer" / run), "out": str(folder / f"rows/{run}.safetensors")},
                source="",
            )
        ).path
        state = load_file(path)
        logits[run] = [state[f"roi_heads.mask_predictor.mask_fcn_logits.{part}"] for part in ("weight", "bias")]
        model = open_model(folder / "runs/transfer" / run).mask_model
        rows = model.mask_weights().expand(3, -1)
        assert torch.equal(logits[run][0][1:4, :, 0, 0], rows)
        assert not logits[run][0][0].any()
        assert logits[run][1][0] == 0
    assert not logits[T][1][:4].any()
    assert len(set(logits["agnostic"][1][1:4].tolist())) == 1
    assert logits["agnostic"][1][1] != 0
    assert len(set(logits["oracle"][1][1:4].tolist())) > 1


def test_an_export_is_idempotent_and_replaces_nothing(imported_project: ImportedProject) -> None:
    """The same again returns at once; another model's file is kept without --overwrite."""
    folder = imported_project.folder
    export = ("export-model", "--out", "again/m.safetensors", "--model")
    first, _ = maskx(folder, *export, f"runs/transfer/{T}")
    before = (folder / "again/m.safetensors").stat().st_mtime_ns
    again, said = maskx(folder, *export, f"runs/transfer/{T}")
    assert "unchanged" in said
    assert again == first
    assert "--overwrite" in maskx(folder, *export, "runs/transfer/agnostic", code=1)[1]
    assert (folder / "again/m.safetensors").stat().st_mtime_ns == before
    answer = json.loads(maskx(folder, *export, "runs/transfer/agnostic", "--overwrite", "--json")[0])
    assert answer["path"] == "again/m.safetensors"
    assert (folder / "again/m.safetensors").stat().st_mtime_ns != before


def test_what_torchvision_cannot_hold_is_an_error_that_says_what_can_be_done(
    imported_project: ImportedProject, tmp_path: Path
) -> None:
    """The MLP branch, coordinates, a detector that is gone, and an ending of another format."""
    folder = imported_project.folder
    said = maskx(folder, "export-model", "--model", "runs/transfer/mlp", code=1)[1]
    assert "MLP" in said
    assert "--format onnx" in said
    said = maskx(folder, "export-model", "--model", "runs/transfer/coordinates", code=1)[1]
    assert "--no-coordinates" in said
    assert not (folder / "runs/exported").exists()
    (folder / "runs/detector").rename(tmp_path / "gone")
    try:
        said = maskx(folder, "export-model", "--model", f"runs/transfer/{T}", code=1)[1]
    finally:
        (tmp_path / "gone").rename(folder / "runs/detector")
    assert "detector that is not here" in said
    assert "--format onnx" in said
    assert ".onnx" in maskx(folder, "export-model", "--format", "onnx", "--out", "x.pth", code=1)[1]
