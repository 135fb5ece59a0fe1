"""The whole model as ONNX: an image in, and boxes, labels, scores and masks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList

from maskx_pipeline.detection.pooling import PyramidPool
from maskx_pipeline.export_model.baked import BakedMaskHead
from maskx_pipeline.export_model.onnx_format import check_packages, quiet_export

IMAGE = "image"
OUTPUTS = ("boxes", "labels", "scores", "mask_probs", "masks")
"""Names of the input and of the outputs."""

_OPSET = 17
_EXAMPLE = (4, 128, 3)  # which image is traced decides nothing; a narrow one is small when its longer side is resized


class WholeGraph(nn.Module):
    """Detector and mask head as one graph that can be traced, for one image of any size.

    Args:
        detector: Frozen, on the CPU.
        head: The mask head with T computed.
        roi_size: Side S of the RoI features.
        pooling: From which maps they are pooled; see :class:`PyramidPool`.
        half_features: Round the RoI features to float16, as maskx does for a model fitted from the RoI cache.
    """

    def __init__(
        self, detector: FasterRCNN, head: BakedMaskHead, *, roi_size: int, pooling: str, half_features: bool
    ) -> None:
        super().__init__()
        self.detector, self.head = detector, head
        scale = int(detector.roi_heads.box_roi_pool.canonical_scale)
        self.pool = PyramidPool(roi_size=roi_size, canonical_box_size=scale, pooling=pooling)
        self.half_features = half_features

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Detect and segment.

        Args:
            image (uint8[H, W, 3]): RGB.

        Returns:
            boxes FloatTensor[N, 4], xyxy in pixels of the image; labels int64[N], 1..K; scores FloatTensor[N], falling;
            mask_probs FloatTensor[N, M, M], in the boxes; masks BoolTensor[N, H, W].
        """
        batch, ratio = self._resized(image.permute(2, 0, 1).float() / 255)
        features = self.detector.backbone(batch.tensors)
        proposals, _ = self.detector.rpn(batch, features)
        (found,), _ = self.detector.roi_heads(features, proposals, batch.image_sizes)
        roi_features = self.pool(features, [found["boxes"]], batch.image_sizes)
        if self.half_features:
            roi_features = roi_features.half().float()
        mask_probs = self.head(roi_features, found["labels"])
        boxes = found["boxes"] / ratio
        return boxes, found["labels"], found["scores"], mask_probs, paste_all(mask_probs, boxes, image)

    def _resized(self, image: Tensor) -> tuple[ImageList, Tensor]:
        """The image as the detector wants it, and its new width and height, twice, over the old ones.

        Sides are computed in float64, as Python does: in float32, 800 of 800.0 pixels may come out as 799. And a number
        over a tensor would be rounded twice.
        """
        transform = self.detector.transform
        sides = shape_as_tensor(image)[1:].double()
        wanted = torch.tensor([transform.min_size[-1], transform.max_size], dtype=torch.float64)
        scale = (wanted / torch.stack([sides.min(), sides.max()])).min()
        new = (sides * scale).floor().long()
        height: Any = new[0]  # traced numbers are tensors
        width: Any = new[1]
        normalised = transform.normalize(image)[None]
        resized = F.interpolate(normalised, size=[height, width], mode="bilinear", align_corners=False)
        stride = transform.size_divisible
        padded = F.pad(resized, [0, (-width) % stride, 0, (-height) % stride])
        ratio = (new.double() / sides).float().flip(0).repeat(2)
        return ImageList(padded, [(height, width)]), ratio


def paste_all(mask_probs: Tensor, boxes_xyxy: Tensor, image: Tensor) -> Tensor:
    """What :func:`maskx_pipeline.evaluation.paste.paste` does, of all masks at once and without a loop.

    Bilinear interpolation is linear in rows and in columns, so a mask is resized and moved to its place by a matrix
    from the left and one from the right.

    Args:
        mask_probs (FloatTensor[N, M, M]): probabilities in the boxes.
        boxes_xyxy (FloatTensor[N, 4]): in pixels of the image.
        image (uint8[H, W, 3]): of which only the size is read.

    Returns:
        BoolTensor[N, H, W]: where the probability is above 0.5.
    """
    sides = shape_as_tensor(image)
    padded = F.pad(mask_probs, [1, 1, 1, 1])
    cells = mask_probs.shape[-1] + 2
    half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * 0.5 * (cells / (cells - 2))
    centre = (boxes_xyxy[:, 2:] + boxes_xyxy[:, :2]) * 0.5
    low, high = (centre - half).long(), (centre + half).long()
    rows = _line_weights(low[:, 1], high[:, 1], sides[0], cells)
    columns = _line_weights(low[:, 0], high[:, 0], sides[1], cells)
    return rows @ padded @ columns.transpose(1, 2) > 0.5


def _line_weights(low: Tensor, high: Tensor, length: Any, cells: int) -> Tensor:
    """How much each line of an image has of each line of a mask.

    Args:
        low, high (int64[N]): the first and the last line that the mask covers.
        length: Lines of the image; a tensor.
        cells: Lines of the mask.

    Returns:
        FloatTensor[N, length, cells].
    """
    lines = torch.arange(length)[None]
    covered = (lines >= low[:, None]) & (lines <= high[:, None])
    size = (high - low + 1).clamp(min=1)[:, None]
    places = ((lines - low[:, None]).float() + 0.5) * (cells / size.float()) - 0.5
    places = places.clamp(0, cells - 1)
    weights = (1 - (places[..., None] - torch.arange(cells)).abs()).clamp(min=0)
    shares: Tensor = weights * covered[..., None]
    return shares


def write_whole_onnx(path: Path, graph: WholeGraph, *, sync: bool = True) -> None:
    """Write the graph, for an image of any size, as one file.

    Args:
        sync: Bring it to the disk; False for a file that is soon gone.

    Raises:
        MachineError: The packages that write ONNX are missing.
    """
    check_packages()
    example = (torch.arange(_EXAMPLE[0] * _EXAMPLE[1] * 3) % 251).view(_EXAMPLE).to(torch.uint8)
    # torchvision's detection models can be traced, but not yet be captured by the newer exporter (dynamo).
    quiet_export(
        path,
        graph,
        (example,),
        sync=sync,
        input_names=[IMAGE],
        output_names=list(OUTPUTS),
        dynamo=False,
        opset_version=_OPSET,
        dynamic_axes={
            IMAGE: {0: "height", 1: "width"},
            **{name: {0: "objects"} for name in OUTPUTS[:-1]},
            OUTPUTS[-1]: {0: "objects", 1: "height", 2: "width"},
        },
    )


def loading_code(path: Path) -> str:
    """Python that runs the file with onnxruntime."""
    return f"""import numpy
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession({str(path)!r})
image = numpy.asarray(Image.open("photo.jpg").convert("RGB"))  # uint8 [H, W, 3]
{", ".join(OUTPUTS)} = session.run(None, {{{IMAGE!r}: image}})
"""
