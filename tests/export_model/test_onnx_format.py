"""The mask head as ONNX gives the masks of PyTorch."""

from __future__ import annotations

import builtins
import contextlib
import json
from typing import Any

import numpy as np
import pytest
import torch
from imported_project import ImportedProject, T, maskx

from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.transfer.load import load_mask_model


@pytest.mark.parametrize("run", [T, "mlp", "coordinates"])
def test_onnx_gives_the_masks_of_pytorch(imported_project: ImportedProject, run: str) -> None:
    """For any number of RoIs, with every kind of mask model, by the printed code."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = imported_project.folder
    out, _ = maskx(
        folder, "export-model", "--format", "onnx", "--model", f"runs/transfer/{run}", "--out", f"onnx/{run}.onnx"
    )
    code = out.split("\n\n", 1)[1]
    assert sorted(p.name for p in (folder / "onnx").glob(f"{run}*")) == [f"{run}.onnx", f"{run}.onnx.json"]
    graph = pytest.importorskip("onnx").load(folder / f"onnx/{run}.onnx").graph
    assert [node.op_type for node in graph.node].count("ConvTranspose") == 1  # and not what training makes of it
    model = load_mask_model(folder / "runs/transfer" / run).mask_model
    generator = np.random.default_rng(0)
    for count in (5, 1, 0, 12):
        features = generator.standard_normal((count, 16, 14, 14), dtype=np.float32)
        labels = generator.integers(1, 4, count)
        names: dict[str, Any] = {"roi_features": features, "labels": labels}
        with contextlib.chdir(folder):
            exec(code, names)
        expected = model(torch.from_numpy(features), torch.from_numpy(labels)).sigmoid().numpy()
        assert names["mask_probs"].shape == (count, 28, 28)
        np.testing.assert_allclose(names["mask_probs"], expected, atol=1e-5)
    assert "[N, 16, 14, 14]" in json.loads((folder / f"onnx/{run}.onnx.json").read_text())["roi_features"]


@pytest.mark.parametrize("run", [T, "linear", "agnostic", "oracle", "mlp", "coordinates"])
def test_baking_changes_nothing(imported_project: ImportedProject, run: str) -> None:
    """Every kind of mask model, before ONNX has any part in it."""
    model = load_mask_model(imported_project.folder / "runs/transfer" / run).mask_model
    features, labels = torch.randn(6, 16, 14, 14), torch.tensor([1, 2, 3, 3, 2, 1])
    torch.testing.assert_close(BakedMaskHead(model, 3)(features, labels), model(features, labels).sigmoid())


def test_without_the_packages_the_error_names_the_extra(
    imported_project: ImportedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written."""
    really = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnxscript":
            raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
        return really(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    folder = imported_project.folder
    said = maskx(
        folder, "export-model", "--format", "onnx", "--model", f"runs/transfer/{T}", "--out", "none/x.onnx", code=1
    )[1]
    assert "pip install onnx onnxscript" in said
    assert not (folder / "none").exists()
