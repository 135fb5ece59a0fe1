"""The whole model in onnxruntime, for `maskx predict` on a CPU."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from maskx_pipeline.detection.features import FrozenDetector, refuse_too_narrow
from maskx_pipeline.errors import ConfigError, MachineError, MaskXError
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.onnx_format import check_packages
from maskx_pipeline.whole_model import ImageModel, Instances, WholeModel

logger = logging.getLogger("maskx")

WORTH_A_GRAPH = 100
"""From how many images on `auto` takes onnxruntime: many more than make up for the time of the graph."""


class OnnxModel:
    """What a whole model finds and segments in float32, computed by onnxruntime.

    The graph is made anew each time, so it is never that of other weights. PyTorch's number of threads is kept.

    Args:
        model: On the CPU, with maskx's own detector.
        num_classes: K.

    Raises:
        ConfigError: The model is on a GPU, or its detector is of another kind.
        MachineError: A package is missing, or the model cannot be exported or loaded here.
    """

    device = torch.device("cpu")

    def __init__(self, model: WholeModel, *, num_classes: int) -> None:
        detector = _exportable(model)
        import onnxruntime

        # It imports torch._dynamo, which takes seconds and is not needed in PyTorch.
        from maskx_pipeline.export_model.whole_onnx import IMAGE, OUTPUTS, WholeGraph, write_whole_onnx

        graph = WholeGraph(
            detector.detector,
            BakedMaskHead(model.mask_model, num_classes),
            roi_size=model.roi_size,
            pooling=detector.pooling,
            half_features=model.half_features,
        )
        self._input, self._outputs = IMAGE, list(OUTPUTS[:-1])  # all but the masks of the image
        self._longest = int(detector.detector.transform.max_size)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other processes want the cores too
        options.log_severity_level = 3
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        with _known_errors("load this model"), tempfile.TemporaryDirectory(prefix="maskx-") as folder:
            path = Path(folder) / "model.onnx"
            write_whole_onnx(path, graph, sync=False)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(self, image: Tensor) -> Instances:
        """Detect the objects of one image, and segment each.

        Args:
            image (FloatTensor[3, H, W]): RGB, 0..1, one of 256 values as images have them.

        Raises:
            DataError: The image is too narrow for the detector.
            MachineError: onnxruntime fails, as where memory runs out.
        """
        size = (int(image.shape[1]), int(image.shape[2]))
        refuse_too_narrow(size, self._longest)
        pixels = image.mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
        with _known_errors("segment an image"):
            found = self._session.run(self._outputs, {self._input: pixels}, self._run_options)
        boxes, labels, scores, mask_probs = (torch.from_numpy(array) for array in found)
        return Instances(clip_boxes_to_image(boxes, size), scores, labels, mask_probs)

    def predict_many(self, images: Sequence[Tensor]) -> list[Instances]:
        """What `predict` gives for each image: the graph takes one at a time."""
        return [self.predict(image) for image in images]


def in_runtime(model: WholeModel, runtime: str, *, num_classes: int, images: int) -> ImageModel:
    """The model as ``--runtime`` wants it.

    Args:
        runtime: ``torch``, ``onnx``, or ``auto``: onnxruntime where the model would compute in float32 on the CPU, the
            packages are there, and the images are enough to pay for the graph.
        num_classes: K.
        images: How many there are for all processes, so that the choice does not depend on how many share them.

    Raises:
        ConfigError, MachineError: ``onnx`` cannot be; see :class:`OnnxModel`.
    """
    if runtime == "onnx":
        logger.info("onnxruntime segments the images, as --runtime onnx asks; making its graph takes some seconds.")
        return OnnxModel(model, num_classes=num_classes)
    if runtime == "torch" or images < WORTH_A_GRAPH or not _in_float32(model):
        return model
    try:
        _exportable(model)
    except MaskXError:
        return model
    logger.info("onnxruntime segments the images (--runtime auto): they are many, and PyTorch would use float32.")
    try:
        return OnnxModel(model, num_classes=num_classes)
    except MachineError as error:
        logger.warning("%s PyTorch segments the images.", error.message)
        return model


def _in_float32(model: WholeModel) -> bool:
    return model.amp_dtype is None and getattr(model.detector, "amp_dtype", None) is None


def _exportable(model: WholeModel) -> FrozenDetector:
    """The detector of a model that onnxruntime can run here; else ConfigError or MachineError."""
    if model.device.type != "cpu":
        raise ConfigError(
            f"--runtime onnx computes on the CPU, and the model is on {model.device}.",
            "give --device cpu, or --runtime torch",
        )
    if not isinstance(model.detector, FrozenDetector):
        raise ConfigError(
            "--runtime onnx needs maskx's own detector, and this model has one of another class.",
            "give --runtime torch",
        )
    check_packages()
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MachineError(
            "--runtime onnx needs the package onnxruntime, which is not installed.",
            "run `pip install onnxruntime`, or install maskx with the extra onnx; or give --runtime torch",
        ) from error
    return model.detector


@contextlib.contextmanager
def _known_errors(what: str) -> Iterator[None]:
    """The errors of PyTorch's exporter and of onnxruntime, which are of many kinds, as MachineError."""
    try:
        yield
    except MaskXError:
        raise
    except Exception as error:
        raise MachineError(f"onnxruntime cannot {what}: {error}", "give --runtime torch") from error
