"""From an image to instances: maskx beside torchvision's Mask R-CNN, and bf16 beside float32.

Both have the same ResNet-50-FPN, RPN and box head with the same random weights, so that they find the same boxes, and
mask heads of the same size. torchvision's pastes each mask into the image as floats, so it is timed without that too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from paste_rle import by_torchvision
from side_by_side import print_machine, print_table, side_by_side
from torch import Tensor
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn
from torchvision.models.detection.transform import resize_boxes

from maskx_pipeline.config import DetectConfig, TransferConfig
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.evaluation.paste import paste_to_rle
from maskx_pipeline.transfer.construction import empty_mask_model
from maskx_pipeline.whole_model import Instances, WholeModel

CATEGORIES = 80
HEIGHT, WIDTH = 480, 640
_CHANNELS, _ROI_SIZE, _EMBEDDING = 256, 14, 5120


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=800, help="short side of the resized image")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1)
    arguments = parser.parse_args()
    print_machine()
    print_table(
        [f"an image at {arguments.size} px", "maskx, ms", "reference, ms", "ratio", "detections of each"],
        compare(size=arguments.size, repeats=arguments.repeats, warm_up=arguments.warm_up),
    )


def compare(*, size: int, repeats: int, warm_up: int) -> list[list[str]]:
    """Time each way; a row for each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ours, half, reference = make_models(size, device)
    image = torch.rand(3, HEIGHT // 16, WIDTH // 16, generator=torch.Generator().manual_seed(0))
    image = image.repeat_interleave(16, 1).repeat_interleave(16, 2)

    def masks_of_rois(model: MaskRCNN) -> dict[str, Tensor]:
        resized, _ = model.transform([image.to(device)])
        features = model.backbone(resized.tensors)
        proposals, _ = model.rpn(resized, features)
        (found,), _ = model.roi_heads(features, proposals, resized.image_sizes)
        boxes = resize_boxes(found["boxes"], resized.image_sizes[0], (HEIGHT, WIDTH))
        return {"boxes": boxes.cpu(), "masks": found["masks"][:, 0].cpu()}

    @torch.no_grad()
    def to_masks() -> dict[str, Tensor]:
        return masks_of_rois(reference)

    @torch.no_grad()
    def to_rle() -> list[dict[str, Any]]:
        found = masks_of_rois(reference)
        return by_torchvision(found["masks"], found["boxes"])

    def ours_to_rle() -> list[dict[str, Any]]:
        found = ours.predict(image)
        return paste_to_rle(found.mask_probs, found.boxes_xyxy, HEIGHT, WIDTH)

    def ours_to_masks() -> Instances:
        return ours.predict(image)

    def in_bf16() -> Instances:
        return half.predict(image)

    rows = []
    for name, mine, other in (
        ("to the masks of RoIs; torchvision", ours_to_masks, to_masks),
        ("to RLE; torchvision + pycocotools", ours_to_rle, to_rle),
        ("to the masks of RoIs in bf16; maskx in float32", in_bf16, ours_to_masks),
    ):
        counts = [0, 0]

        def counted(side: int, call: Callable[[], Any], counts: list[int] = counts) -> Callable[[], None]:
            def run() -> None:
                found = call()
                counts[side] = len(found["boxes"]) if isinstance(found, dict) else len(found)

            return run

        measured = side_by_side(counted(0, mine), counted(1, other), repeats=repeats, warm_up=warm_up)
        rows.append([name, *measured.cells(), " and ".join(map(str, counts))])
    return rows


def make_models(size: int, device: torch.device) -> tuple[WholeModel, WholeModel, MaskRCNN]:
    """WholeModel in float32 and in bf16, and torchvision's model, on one set of random weights."""
    torch.manual_seed(0)
    config = DetectConfig(backbone_weights="none", min_size=size, max_size=2 * size)
    detector = build_detector(num_classes=CATEGORIES + 1, **detector_arguments(config)).eval()
    # Random weights are sure of nothing: without this not one detection would pass the threshold.
    torch.nn.init.normal_(detector.roi_heads.box_predictor.cls_score.weight, std=2.0)
    reference = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CATEGORIES + 1, min_size=size, max_size=2 * size
    )
    left = reference.load_state_dict(detector.state_dict(), strict=False)
    if left.unexpected_keys or not all(".mask_" in key for key in left.missing_keys):
        raise SystemExit(f"the two detectors differ: {left}")
    mask_model = empty_mask_model(
        TransferConfig(embedding="cls+box"),
        {"predictor.embedding.rows": torch.randn(CATEGORIES, _EMBEDDING)},
        num_classes=CATEGORIES,
        in_channels=_CHANNELS,
        roi_size=_ROI_SIZE,
    )
    ours, half = (
        WholeModel(
            FrozenDetector(detector, device=device, amp_dtype=dtype),
            mask_model,
            roi_size=_ROI_SIZE,
            device=device,
            amp_dtype=dtype,
        )
        for dtype in (None, torch.bfloat16)
    )
    return ours, half, reference.eval().to(device)


if __name__ == "__main__":
    main()
