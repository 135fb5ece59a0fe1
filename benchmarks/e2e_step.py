"""A step of joint training beside a training step of torchvision's Mask R-CNN: ResNet-50-FPN on the same images.

    python benchmarks/e2e_step.py [--size 800 400] [--images 1] [--repeats 3] [--threads N]

`maskx e2e` with its default settings against torchvision's MaskRCNN with as many sampled RoIs and proposals. On both
sides normalisation and the first two stages of the backbone are frozen, as at a start from ImageNet; the weights are
random and stay as they are (learning rate 0), so that each step does the same. Both compute the losses of RPN, box
head and mask head, their gradients, and a step of SGD. The RPN runs, but what it proposes is replaced: an untrained
one finds hardly any object, and here both sides sample 128 RoIs of objects among their 512. torchvision gets its masks
as bitmaps of the image, made before the timing; ours are polygons, drawn in each step, as in training. torchvision has
the masks of all categories; ours those of all, and, in rows of their own, those of every second category.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from side_by_side import print_machine, print_table, side_by_side
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import FrozenBatchNorm2d

from maskx_pipeline.config import DetectConfig, E2EConfig, ShapesConfig, TransferConfig
from maskx_pipeline.data.coco import CocoData, read_coco
from maskx_pipeline.data.dataset import DetectionDataset, as_floats
from maskx_pipeline.data.masks import segmentation_to_rle
from maskx_pipeline.detection.backbone import train_stages
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.e2e.start import Start, build_e2e_model
from maskx_pipeline.engine.device import amp_dtype, autocast, resolve_device
from maskx_pipeline.engine.schedule import build_optimizer
from maskx_pipeline.shapes.generate import generate_shapes
from maskx_pipeline.transfer.heads import mask_head_class

Step = Callable[[], None]
_NEAR = 50  # proposals about each object


def make_data(folder: Path, *, images: int, size: int) -> CocoData:
    """Images with 7 objects each, as many as COCO has, and their polygons."""
    few = {"shapes": 2, "textures": 1, "hues": 2}
    shapes = ShapesConfig(
        out=folder, train_count=max(images, 4), val_count=4, image_size=size, objects_min=7, objects_max=7,
        masks="all", **few,
    )  # fmt: skip
    generate_shapes(shapes)
    return read_coco(folder / "train.json", folder / "train")


def our_step(data: CocoData, *, images: int, size: int, amp: str, seen: list[int]) -> Step:
    """The model, losses and optimiser of `maskx e2e`."""
    device = resolve_device("auto")
    dtype = amp_dtype(amp, device)
    detect = DetectConfig(backbone_weights="none", norm="frozen", min_size=size, max_size=2 * size)
    start = Start(detect, TransferConfig(form="published"), None, None, "")
    config = E2EConfig()
    model = build_e2e_model(config, start, categories=data.categories, seen=seen).to(device).train()
    train_stages(model.detector, detect.trainable_layers)
    optimizer = build_optimizer(model, lr=0.0, momentum=0.9, weight_decay=1e-4, bias_lr_factor=2.0)
    masks = SeenMasks(data, seen=seen, size=mask_head_class(start.transfer.mask_head).mask_size(config.roi_size))
    batch = [DetectionDataset(data, flip_probability=0.0, seed=0)[number] for number in range(images)]
    pixels = [as_floats(image, device) for image, _ in batch]
    targets = [{k: v.to(device) if isinstance(v, Tensor) else v for k, v in t.items()} for _, t in batch]
    replace_proposals(model.detector, targets, side=size)
    return training_step(lambda: model(pixels, targets, masks), optimizer, device=device, dtype=dtype)


def torchvision_step(data: CocoData, *, images: int, size: int, amp: str) -> Step:
    """torchvision's own training step on the same images and objects."""
    device = resolve_device("auto")
    detect = DetectConfig()
    backbone = resnet_fpn_backbone(
        backbone_name=detect.backbone,
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=detect.trainable_layers,
    )
    model = MaskRCNN(
        backbone,
        num_classes=data.num_classes + 1,
        min_size=size,
        max_size=2 * size,
        rpn_pre_nms_top_n_train=detect.rpn_pre_nms,
        rpn_post_nms_top_n_train=detect.rpn_post_nms,
        box_batch_size_per_image=detect.rois_per_image,
    )
    model.to(device).train()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.0, momentum=0.9, weight_decay=1e-4
    )
    dataset = DetectionDataset(data, flip_probability=0.0, seed=0)
    pixels, targets = [], []
    for number in range(images):
        image, target = dataset[number]
        pixels.append(as_floats(image, device))
        targets.append(_torchvision_target(data, image, target, device))
    replace_proposals(model, targets, side=size)
    return training_step(lambda: model(pixels, targets), optimizer, device=device, dtype=amp_dtype(amp, device))


def replace_proposals(detector: GeneralizedRCNN, targets: list[dict[str, Any]], *, side: int) -> None:
    """Let the RPN propose 50 boxes about each object, and boxes anywhere up to its usual number."""
    generator = torch.Generator().manual_seed(0)
    proposals = []
    for target in targets:
        near = target["boxes"].cpu().repeat(_NEAR, 1)
        near = near + 0.04 * (near[:, 2:] - near[:, :2]).repeat(1, 2) * torch.randn(near.shape, generator=generator)
        corners = side * torch.rand(DetectConfig().rpn_post_nms - len(near), 2, generator=generator)
        anywhere = torch.cat([corners, corners + 8 + side / 4 * torch.rand(corners.shape, generator=generator)], dim=1)
        proposals.append(torch.cat([near, anywhere]).clamp(0, side).to(target["boxes"].device))
    of_rpn = detector.rpn.forward

    def forward(*arguments: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
        _, losses = of_rpn(*arguments)
        return proposals, losses

    detector.rpn.forward = forward


def _torchvision_target(
    data: CocoData, image: Tensor, target: dict[str, Any], device: torch.device
) -> dict[str, Tensor]:
    height, width = image.shape[-2:]
    annotations = data.annotations()
    rows = {number: row for row, number in enumerate(annotations.ids.tolist())}
    masks = [
        coco_mask.decode(segmentation_to_rle(annotations[rows[number]].segmentation, height, width))
        for number in target["annotation_ids"].tolist()
    ]
    return {
        "boxes": target["boxes"].to(device),
        "labels": target["labels"].to(device),
        "masks": torch.from_numpy(np.stack(masks)).to(device),
    }


def training_step(
    losses_of: Callable[[], dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
) -> Step:
    def step() -> None:
        torch.manual_seed(0)
        with autocast(device, dtype):
            losses = losses_of()
        total = torch.stack([value.float() for value in losses.values()]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return step


def compare(folder: Path, *, images: int, size: int, repeats: int, warm_up: int) -> list[list[str]]:
    """A row for each precision and choice of seen categories."""
    data = make_data(folder, images=images, size=size)
    everything = [category.label for category in data.categories]
    rows = []
    for amp, name in (("off", "float32"), ("bf16", "bf16")):
        reference = torchvision_step(data, images=images, size=size, amp=amp)
        for seen, which in ((everything, "all seen"), (everything[::2], "half seen")):
            ours = our_step(data, images=images, size=size, amp=amp, seen=seen)
            measured = side_by_side(ours, reference, repeats=repeats, warm_up=warm_up)
            rows.append([f"{size} px, {images} image(s), {name}, {which}", *measured.cells(each=images)])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs="+", default=[800, 400], help="Short side of the resized image.")
    parser.add_argument("--images", type=int, default=1, help="Images of a step.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print_machine()
    rows: list[list[str]] = []
    for size in options.size:
        with TemporaryDirectory() as folder:
            rows += compare(
                Path(folder), images=options.images, size=size, repeats=options.repeats, warm_up=options.warm_up
            )
    print_table(["a training step", "maskx, ms per image", "torchvision, ms per image", "ratio"], rows)


if __name__ == "__main__":
    main()
