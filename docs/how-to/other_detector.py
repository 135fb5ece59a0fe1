"""YOLOX-nano, run by onnxruntime, as a detector of maskx: --detector other_detector.py:YoloxNano."""

from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import torch
from torch.nn.functional import interpolate, pad
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from maskx_pipeline.data.images import read_image
from maskx_pipeline.data.records import Category
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.detector import Detections

SIDE, STRIDES = 640, (8, 16, 32)  # longer side of the resized image; the head's levels
MAPS = {"input.67": 4, "input.471": 8}  # what is pooled: the backbone's finest output, and the neck's; their strides
COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]  # by id; those that are none are called otherwise
NAMED = [(number, name) for number, name in enumerate(COCO) if name not in ("__background__", "N/A")]


class YoloxNano:
    channels, detections_per_image = 32 + 64, 30
    categories = tuple(Category(number, name, label) for label, (number, name) in enumerate(NAMED, start=1))

    def __init__(self, file: str, images: str) -> None:
        graph = (model := onnx.load(file)).graph
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        kernels = [tensors[f"head.cls_preds.{level}.weight"].reshape(80, 64) for level in range(len(STRIDES))]
        none = torch.zeros(80, 0)  # one box layer for all categories: there are no box weights per category
        self.class_weights = ClassWeights(torch.from_numpy(np.hstack(kernels)), torch.zeros(80), none, none)
        heads = [node.output[0] for node in graph.node if node.op_type == "Concat"][-4:-1]
        del graph.output[:], graph.value_info[:]  # the latter say 416 x 416
        graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in (*MAPS, *heads))
        for side, name in zip(graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
            side.dim_param = name  # any size of image
        self.session = onnxruntime.InferenceSession(model.SerializeToString())
        sample = sorted(Path(images).iterdir())[:32]
        self.identity = sha256(b"".join(Path(p).read_bytes() for p in (file, __file__, *sample))).hexdigest()
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)  # of each channel, so that none outweighs
        pooled = torch.cat([i.pool(i.proposals_xyxy, 4) for i in (self.extract(read_image(p) / 255) for p in sample)])
        self.mean, self.std = pooled.mean((0, 2, 3), keepdim=True), pooled.std((0, 2, 3), keepdim=True)

    def extract(self, image: torch.Tensor) -> SimpleNamespace:
        height, width = image.shape[1:]
        scale = SIDE / max(height, width)
        small = interpolate(255 * image.flip(0)[None], scale_factor=scale, mode="bilinear", antialias=True)  # BGR
        padded = pad(small, (0, -small.shape[3] % 32, 0, -small.shape[2] % 32), value=114)
        fine, coarse, *heads = map(torch.from_numpy, self.session.run(None, {"images": padded.numpy()}))
        boxes, scores = map(torch.cat, zip(*map(decode, heads, STRIDES), strict=True))
        boxes = clip_boxes_to_image(boxes / scale, (height, width))
        best, classes = scores.max(dim=1)
        keep = batched_nms(boxes, best, classes, 0.65)
        keep = keep[best[keep] > 0.01][: self.detections_per_image]

        def pool(boxes_xyxy: torch.Tensor, roi_size: int) -> torch.Tensor:
            of_maps = zip((fine, coarse), MAPS.values(), strict=True)
            pooled = [roi_align(m, [boxes_xyxy * scale], roi_size, 1 / s, 2, aligned=True) for m, s in of_maps]
            return (torch.cat(pooled, dim=1) - self.mean) / self.std

        return SimpleNamespace(
            detections=Detections(boxes[keep], best[keep], classes[keep] + 1),  # labels are 1..K
            proposals_xyxy=boxes[best > 0.1],
            pool=pool,
        )


def decode(head: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    height, width = head.shape[2:]
    x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    dx, dy, log_w, log_h, objectness = head[0, :5]
    centre, size = torch.stack([x + dx, y + dy]) * stride, torch.stack([log_w, log_h]).exp() * stride
    boxes = torch.cat([centre - size / 2, centre + size / 2]).flatten(1).T
    return boxes, (objectness * head[0, 5:]).flatten(1).T
