"""The mask head as ONNX."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskx_pipeline.errors import MachineError
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.provenance.files import atomic_path

FEATURES, LABELS, MASKS = "roi_features", "labels", "mask_probs"
"""Names of the inputs and of the output."""


def write_onnx(path: Path, head: BakedMaskHead, *, channels: int, roi_size: int) -> None:
    """Write float32 [N, C, S, S] and int64 [N] to float32 [N, M, M], for any number N of RoIs, as one file.

    Raises:
        MachineError: The packages that write ONNX are missing.
    """
    check_packages()
    example = (torch.zeros(2, channels, roi_size, roi_size), torch.ones(2, dtype=torch.long))
    rois = torch.export.Dim("rois")
    quiet_export(
        path,
        head,
        example,
        input_names=[FEATURES, LABELS],
        output_names=[MASKS],
        dynamo=True,
        dynamic_shapes=({0: rois}, {0: rois}),
        external_data=False,
    )


def check_packages() -> None:
    """Raise MachineError where the packages that write ONNX are missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MachineError(
            f"Writing ONNX needs the package {error.name}, which is not installed.",
            "run `pip install onnx onnxscript`, or install maskx with the extra onnx",
        ) from error


def quiet_export(
    path: Path, module: nn.Module, example: tuple[Tensor, ...], *, sync: bool = True, **arguments: Any
) -> None:
    """Write a module in evaluation mode, whole or not at all, without what PyTorch says of its own internals.

    Args:
        sync: Bring it to the disk; see :func:`maskx_pipeline.provenance.files.atomic_path`.
    """
    with (
        atomic_path(path, sync=sync) as temporary,
        torch.no_grad(),  # as at inference: the deconvolution is written as one
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), example, temporary, verbose=False, **arguments)


def loading_code(path: Path) -> str:
    """Python that runs the file with onnxruntime."""
    return f"""import onnxruntime

session = onnxruntime.InferenceSession({str(path)!r})
inputs = {{{FEATURES!r}: roi_features, {LABELS!r}: labels}}  # float32 [N, C, S, S] and int64 [N]
mask_probs = session.run(None, inputs)[0]  # float32 [N, M, M]
"""
