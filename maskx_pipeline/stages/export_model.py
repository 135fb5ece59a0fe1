"""The model for other programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchvision.models.detection import FasterRCNN

from maskx_pipeline import __version__
from maskx_pipeline.config import DetectConfig, ExportModelConfig
from maskx_pipeline.e2e.load import LoadedE2EModel
from maskx_pipeline.engine.checkpoint import save_state, save_weights
from maskx_pipeline.errors import ConfigError, MaskXError, RunError
from maskx_pipeline.export_model import loading_code, onnx_format
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.torchvision_format import fcn_head, mask_rcnn_state
from maskx_pipeline.model_run import load_model, newest_run
from maskx_pipeline.provenance.made_from import finished_note, write_note
from maskx_pipeline.transfer.load import LoadedMaskModel
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.whole_model import detector_of

logger = logging.getLogger("maskx")

_ENDINGS = {"torchvision": (".safetensors", ".pth", ".pt"), "onnx": (".onnx",)}
_DEFAULT = {"torchvision": "model.safetensors", "onnx": "mask-head.onnx"}


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
        RunError: No such run; or torchvision's format is asked for, and the detector is not there.
        MachineError: The packages that write ONNX are missing.
    """
    out = config.out or config.runs / "exported" / _DEFAULT[config.format]
    if out.suffix not in _ENDINGS[config.format]:
        raise ConfigError(
            f"{out} does not end as a file of the format {config.format}.",
            f"give {' or '.join(_ENDINGS[config.format])}",
        )
    folder = config.model or newest_run(config.runs)
    loaded = load_model(folder, config.checkpoint)
    made_from = {
        **config.identity(),
        "weights_sha256": loaded.sha256,
        "detector_sha256": loaded.detector_sha256 if isinstance(loaded, LoadedMaskModel) else None,
        "maskx": __version__,
    }
    note = out.with_name(f"{out.name}.json")
    if finished := finished_note(note, out, made_from, overwrite=overwrite):
        logger.info("%s is finished and unchanged.", out)
        return ExportedModel(out, note, finished["code"])
    written = _write_onnx(out, loaded) if config.format == "onnx" else _write_torchvision(out, folder, loaded)
    categories = [
        {"label": c.label, "id": c.id, "name": c.name, "seen": c.label in loaded.seen} for c in loaded.categories
    ]
    write_note(note, out, made_from, {**written, "categories": categories, "model": str(folder)})
    return ExportedModel(out, note, written["code"])


def _mask_model(loaded: LoadedMaskModel | LoadedE2EModel) -> MaskModel:
    if isinstance(loaded, LoadedMaskModel):
        return loaded.model
    loaded.model.refresh()
    return loaded.model.mask_model


def _write_onnx(out: Path, loaded: LoadedMaskModel | LoadedE2EModel) -> dict[str, Any]:
    mask_model = _mask_model(loaded)
    channels = mask_model.head.in_channels
    roi_size = loaded.roi_size if isinstance(loaded, LoadedMaskModel) else loaded.config.roi_size
    head = BakedMaskHead(mask_model, len(loaded.categories))
    side = mask_model.head.mask_size(roi_size)
    onnx_format.write_onnx(out, head, channels=channels, roi_size=roi_size)
    return {
        "code": onnx_format.loading_code(out),
        "roi_features": f"float32 [N, {channels}, {roi_size}, {roi_size}], from the FPN by RoIAlign with 2 samples per "
        "bin and axis, aligned=False",
        "labels": f"int64 [N], 1..{len(loaded.categories)}",
        "mask_probs": f"float32 [N, {side}, {side}], probabilities in the box; above 0.5 is the object",
    }


def _write_torchvision(out: Path, folder: Path, loaded: LoadedMaskModel | LoadedE2EModel) -> dict[str, Any]:
    mask_model = _mask_model(loaded)
    head = fcn_head(mask_model)
    detector, config = _detector(folder, loaded)
    loading_code.check_buildable(config)
    state = mask_rcnn_state(detector, mask_model, v2=config.architecture == "v2")
    if out.suffix == ".safetensors":
        save_weights(out, state, {})
    else:
        save_state(out, state)
    outputs = 1 + len(loaded.categories) + config.other_outputs
    roi_size = loaded.roi_size if isinstance(loaded, LoadedMaskModel) else loaded.config.roi_size
    return {
        "code": loading_code.loading_code(out, config, outputs=outputs, head=head, roi_size=roi_size),
        "num_classes": outputs,
        "labels_to_ignore": list(range(len(loaded.categories) + 1, outputs)),
        "arguments": loading_code.constructor_arguments(config),
        "input": "RGB in 0..1; the model resizes and normalises",
        "min_size": config.min_size,
        "max_size": config.max_size,
        "score_threshold": config.score_threshold,
        "nms_threshold": config.nms_threshold,
        "detections_per_image": config.detections_per_image,
        "anchor_sizes": list(config.anchor_sizes),
        "masks": "probabilities; above 0.5 is the object",
    }


def _detector(folder: Path, loaded: LoadedMaskModel | LoadedE2EModel) -> tuple[FasterRCNN, DetectConfig]:
    if isinstance(loaded, LoadedE2EModel):
        return loaded.model.detector, loaded.detect
    try:
        detector = detector_of(loaded)
    except MaskXError as error:
        raise RunError(
            f"{folder} was fitted from the RoI cache of a detector that is not here, and torchvision's format holds "
            f"the detector too. {error.message}",
            "bring its run folder back; or give --format onnx, the mask head alone, which needs none",
        ) from error
    return detector.model, detector.config
