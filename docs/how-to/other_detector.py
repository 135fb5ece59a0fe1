"""A RoI cache from YOLOX-nano, run by onnxruntime: python other_detector.py yolox_nano.onnx (in a project folder)."""

import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import torch
from torch.nn.functional import interpolate, pad
from torchvision.ops import batched_nms, clip_boxes_to_image, roi_align

from maskx_pipeline.config import DataConfig, ExportConfig
from maskx_pipeline.data.images import read_image
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.features import Detections
from maskx_pipeline.project import read_project
from maskx_pipeline.stages.foreign import export_foreign

SIDE, STRIDES, MOST = 640, (8, 16, 32), 30  # longer side of the resized image; the head's levels; detections per image


class Yolox:
    def __init__(self, file: Path) -> None:
        graph = (model := onnx.load(file)).graph
        tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        kernels = [f"head.cls_preds.{level}.weight" for level in range(len(STRIDES))]
        self.w_cls = torch.from_numpy(np.hstack([tensors[name].reshape(80, 64) for name in kernels]))  # [80, 192]
        heads = [node.output[0] for node in graph.node if node.op_type == "Concat"][-4:-1]
        del graph.output[:], graph.value_info[:]  # the latter say 416 x 416
        graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in ("input.67", *heads))
        for side, name in zip(graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
            side.dim_param = name  # any size of image
        self.session = onnxruntime.InferenceSession(model.SerializeToString())
        self.channels = 32  # of input.67, the backbone's output of stride 4
        self.mean, self.std = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)  # of the channels; see below

    def extract(self, image: torch.Tensor) -> SimpleNamespace:
        height, width = image.shape[1:]
        scale = SIDE / max(height, width)
        small = interpolate(255 * image.flip(0)[None], scale_factor=scale, mode="bilinear", antialias=True)  # BGR
        padded = pad(small, (0, -small.shape[3] % 32, 0, -small.shape[2] % 32), value=114)
        fine, *heads = map(torch.from_numpy, self.session.run(None, {"images": padded.numpy()}))
        boxes, scores = map(torch.cat, zip(*map(decode, heads, STRIDES), strict=True))
        boxes = clip_boxes_to_image(boxes / scale, (height, width))
        best, classes = scores.max(dim=1)
        keep = batched_nms(boxes, best, classes, 0.65)
        keep = keep[best[keep] > 0.01][:MOST]

        def pool(boxes_xyxy: torch.Tensor, roi_size: int) -> torch.Tensor:
            pooled = roi_align(fine, [boxes_xyxy * scale], roi_size, 1 / 4, 2, aligned=True)
            return (pooled - self.mean) / self.std

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


if __name__ == "__main__":
    file, project = Path(sys.argv[1]), read_project(Path())
    data, detector = project.load(DataConfig), Yolox(file)
    looks = [detector.extract(read_image(path) / 255) for path in sorted(data.train_images.iterdir())[:32]]
    sample = torch.cat([look.pool(look.proposals_xyxy, 4) for look in looks])
    detector.mean, detector.std = sample.mean((0, 2, 3), keepdim=True), sample.std((0, 2, 3), keepdim=True)
    none = torch.zeros(80, 0)  # one box layer for all categories: there are no box weights per category
    export_foreign(
        project.load(ExportConfig),
        data,
        detector=detector,
        detector_sha256=sha256(file.read_bytes() + Path(__file__).read_bytes()).hexdigest(),
        class_weights=ClassWeights(w_cls=detector.w_cls, b_cls=torch.zeros(80), w_box=none, b_box=none),
        detections_per_image=MOST,
    )
