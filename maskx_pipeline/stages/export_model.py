"""The model for other programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline import __version__
from maskx_pipeline.config import DetectConfig, ExportModelConfig
from maskx_pipeline.config.detection import ASSIGNED
from maskx_pipeline.detection.load import LoadedDetector
from maskx_pipeline.engine.checkpoint import save_state, save_weights
from maskx_pipeline.errors import ConfigError, MaskXError, RunError
from maskx_pipeline.export_model import loading_code, onnx_format, whole_onnx
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.torchvision_format import fcn_head, mask_rcnn_state
from maskx_pipeline.model_run import ModelRun, open_model
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import finished_note, noted_path
from maskx_pipeline.settings import class_of

logger = logging.getLogger("maskx")

_ENDINGS = {"torchvision": (".safetensors", ".pth", ".pt"), "onnx": (".onnx",), "onnx-whole": (".onnx",)}
_DEFAULT = {"torchvision": "model.safetensors", "onnx": "mask-head.onnx", "onnx-whole": "model.onnx"}


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """What was written.

    Attributes:
        path: The weights, or the ONNX graph.
        note: JSON beside it: sizes, thresholds, categories by label with whether their masks were seen, and origin.
        code: Python that loads it.
    """

    path: Path
    note: Path
    code: str


def export_model(config: ExportModelConfig, *, overwrite: bool = False) -> ExportedModel:
    """Write a model for other programs, with w_seg = T(w_det) computed once and for all.

    Raises:
        ConfigError: The format has no place for what the model is.
        OutputError: The file exists, and is of something else.
        RunError: No such run; or the format holds the detector too, and that is not there.
        MachineError: The packages that write ONNX are missing.
    """
    out = config.out or config.runs / "exported" / _DEFAULT[config.format]
    if out.suffix not in _ENDINGS[config.format]:
        raise ConfigError(
            f"{out} does not end as a file of the format {config.format}.",
            f"give {' or '.join(_ENDINGS[config.format])}",
        )
    model = open_model(config.model, runs=config.runs, checkpoint=config.checkpoint)
    made_from = {
        **config.identity(),
        "weights_sha256": model.sha256,
        "detector_sha256": model.detector_identity,
        "maskx": __version__,
    }
    note = out.with_name(f"{out.name}.json")
    if finished := finished_note(note, out, made_from, overwrite=overwrite):
        logger.info("%s is finished and unchanged.", out)
        return ExportedModel(out, note, finished["code"])
    categories = [
        {"label": c.label, "id": c.id, "name": c.name, "seen": c.label in model.seen} for c in model.categories
    ]
    content: dict[str, Any] = {}
    with locked(out), noted_path(out, note, made_from, content) as temporary:
        write = {"torchvision": _write_torchvision, "onnx": _write_onnx, "onnx-whole": _write_whole_onnx}[config.format]
        content |= {**write(temporary, model, out), "categories": categories, "model": str(model.folder)}
    return ExportedModel(out, note, content["code"])


def _write_onnx(path: Path, model: ModelRun, out: Path) -> dict[str, Any]:
    channels, roi_size = model.mask_model.head.in_channels, model.roi_size
    head = BakedMaskHead(model.mask_model, len(model.categories))
    side = model.mask_model.head.mask_size(roi_size)
    maps = "" if model.detector_pool == ASSIGNED else "; of the finest level, then of the one that suits the box's size"
    onnx_format.write_onnx(path, head, channels=channels, roi_size=roi_size)
    return {
        "code": onnx_format.loading_code(out),
        "roi_features": f"float32 [N, {channels}, {roi_size}, {roi_size}], from the FPN by RoIAlign with 2 samples per "
        f"bin and axis, aligned=False{maps}",
        "labels": f"int64 [N], 1..{len(model.categories)}",
        "mask_probs": f"float32 [N, {side}, {side}], probabilities in the box; above 0.5 is the object",
    }


def _write_whole_onnx(path: Path, model: ModelRun, out: Path) -> dict[str, Any]:
    detector = _faster_rcnn(model)
    graph = whole_onnx.WholeGraph(
        detector.model,
        BakedMaskHead(model.mask_model, len(model.categories)),
        roi_size=model.roi_size,
        pooling=model.detector_pool,
        half_features=model.own_detector is None,
    )
    whole_onnx.write_whole_onnx(path, graph)
    side = model.mask_model.head.mask_size(model.roi_size)
    return {
        "code": whole_onnx.loading_code(out),
        "image": "uint8 [H, W, 3], RGB, of any size; one image at a time",
        "boxes": "float32 [N, 4]: left, top, right, bottom, in pixels of the image",
        "labels": f"int64 [N], 1..{len(model.categories)}",
        "scores": "float32 [N], falling",
        "mask_probs": f"float32 [N, {side}, {side}], probabilities in the box",
        "masks": "bool [N, H, W], the pixels of each object",
        **_of_detection(detector.config),
    }


def _of_detection(config: DetectConfig) -> dict[str, Any]:
    """What of the detector is fixed in a file that holds it."""
    names = ("min_size", "max_size", "score_threshold", "nms_threshold", "detections_per_image")
    return {name: getattr(config, name) for name in names}


def _write_torchvision(path: Path, model: ModelRun, out: Path) -> dict[str, Any]:
    if model.detector_pool != ASSIGNED:
        raise ConfigError(
            f"This model reads RoI features of two maps (--pool {model.detector_pool}), and torchvision's Mask R-CNN "
            "pools from one.",
            f"give --format onnx, which holds the whole mask head; or export and fit with --pool {ASSIGNED}",
        )
    detector = _faster_rcnn(model)
    head = fcn_head(model.mask_model)
    config = detector.config
    loading_code.check_buildable(config)
    state = mask_rcnn_state(detector.model, model.mask_model, v2=config.architecture == "v2")
    if out.suffix == ".safetensors":
        save_weights(path, state, {})
    else:
        save_state(path, state)
    outputs = 1 + len(model.categories) + config.other_outputs
    return {
        "code": loading_code.loading_code(out, config, outputs=outputs, head=head, roi_size=model.roi_size),
        "num_classes": outputs,
        "labels_to_ignore": list(range(len(model.categories) + 1, outputs)),
        "arguments": loading_code.constructor_arguments(config),
        "input": "RGB in 0..1; the model resizes and normalises",
        **_of_detection(config),
        "anchor_sizes": list(config.anchor_sizes),
        "masks": "probabilities; above 0.5 is the object",
    }


def _faster_rcnn(model: ModelRun) -> LoadedDetector:
    try:
        return model.faster_rcnn()
    except MaskXError as error:
        if class_of(model.detector):
            raise
        raise RunError(
            f"{model.folder} was fitted from the RoI cache of a detector that is not here, and this format holds the "
            f"detector too. {error.message}",
            "bring its run folder back; or give --format onnx, the mask head alone, which needs none",
        ) from error
