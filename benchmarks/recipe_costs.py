#!/usr/bin/env python3
"""Print the tables of pipelines/README.md and docs/explanation/scale.md: hours and disk expected on COCO.

    python benchmarks/recipe_costs.py [--repetitions N]

It counts the operations of a training step of the mask head per RoI, and of a training step and of the frozen forward
of the detector per image, at full size. From these the assumptions in recipe_costs_model.py give the hours. The seconds
are of one CPU core in float32, for comparison, but for those of pasting masks, which are used. Takes minutes, and some
6 GB of memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from recipe_costs_model import RECIPES, VISUAL_GENOME, Measured, assumptions, cost_of, everything, stage_hours
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from maskx_pipeline.config import DetectConfig, ExportConfig, TransferConfig
from maskx_pipeline.detection.backbone import train_stages
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.detection.features import FrozenDetector
from maskx_pipeline.detection.model import build_detector, detector_arguments
from maskx_pipeline.evaluation.paste import paste_to_rle
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.heads import mask_head_class
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel

CATEGORIES = 80
IMAGE = (800, 1066)  # COCO's usual 480 x 640, resized
OBJECTS = 7  # of an image, on average
ROIS = 16  # of a step; a user's has 128
DETECTIONS = 100
BRANCHES = ("fcn", "fcn+mlp")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="for an image; the median is printed [default: 3]")
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| measured | GFLOP | CPU seconds |")
    print("| --- | ---: | ---: |")
    measured = measure_heads(measure_detector("resnet50", repetitions))
    deep = dataclasses.replace(measured, **measure_detector("resnet101", 1))
    print("\n" + assumptions(measured) + "\n")
    print_recipes(measured, deep)
    print()
    print_stages(measured, deep)


def cost(name: str, call: Callable[[], object], *, per: int, repetitions: int) -> tuple[float, float]:
    """FLOP and the median of the CPU seconds of a call, by RoI or image; prints both."""
    times = []
    for _ in range(repetitions):
        began = time.process_time()
        with FlopCounterMode(display=False) as counter:
            call()
        times.append(time.process_time() - began)
    flop, seconds = counter.get_total_flops() / per, statistics.median(times) / per
    print(f"| {name} | {flop / 1e9:.2f} | {seconds:.2g} |", flush=True)
    return flop, seconds


def measure_detector(backbone: str, repetitions: int) -> dict[str, Any]:
    """The fields of :class:`Measured` that are the detector's."""
    config = DetectConfig(backbone=backbone, backbone_weights="none", norm="batch")  # ImageNet's need a download
    detector = build_detector(num_classes=CATEGORIES + 1, **detector_arguments(config))
    train_stages(detector, config.trainable_layers)
    detector.train()
    image = torch.rand(3, *IMAGE)
    corners = torch.rand(OBJECTS, 2) * 400
    target = {
        "boxes": torch.cat([corners, corners + 20 + torch.rand(OBJECTS, 2) * 300], dim=1),
        "labels": torch.randint(1, CATEGORIES + 1, (OBJECTS,)),
    }

    def train() -> None:
        losses: dict[str, Tensor] = detector([image], [target])
        torch.stack(list(losses.values())).sum().backward()

    name = f"detector, {backbone}-FPN, 800 px"
    step, _ = cost(f"{name}, training step, per image", train, per=1, repetitions=repetitions)
    detector.zero_grad()
    frozen = FrozenDetector(detector, device=torch.device("cpu"), amp_dtype=None)
    forward, _ = cost(
        f"{name}, frozen, per image", lambda: frozen.extract(image).detections, per=1, repetitions=repetitions
    )
    return {
        "detector": step,
        "forward": forward,
        "detector_parameters": sum(parameter.numel() for parameter in detector.parameters()),
    }


def measure_heads(detector: dict[str, Any], repetitions: int = 5) -> Measured:
    """What is measured of a detector, and beside it the mask heads and the pasting."""
    head, head_forward, head_parameters = {}, {}, {}
    width, channels, size = DetectConfig().box_head_dim, DetectConfig().fpn_channels, ExportConfig().roi_size
    weights = ClassWeights(*(torch.randn(CATEGORIES, n) * 0.01 for n in (width, 1, 4 * width, 4)))
    features, labels = torch.rand(ROIS, channels, size, size), torch.randint(1, CATEGORIES + 1, (ROIS,))
    side = mask_head_class(TransferConfig().mask_head).mask_size(size)
    targets = torch.randint(0, 2, (ROIS, side, side), dtype=torch.uint8)
    for branch in BRANCHES:
        model = new_mask_model(
            TransferConfig(form="published", mask_branch=branch),
            class_weights=weights,
            category_names=[str(n) for n in range(CATEGORIES)],
            in_channels=channels,
            roi_size=size,
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
        train = partial(train_head, model, optimizer, features, labels, targets)
        name = f"mask head, {branch}, {TransferConfig().head_width} wide"
        head[branch], _ = cost(f"{name}, training step, per RoI", train, per=ROIS, repetitions=repetitions)
        with torch.no_grad():
            forward = partial(model, features, labels)
            head_forward[branch], _ = cost(f"{name}, forward, per RoI", forward, per=ROIS, repetitions=repetitions)
        head_parameters[branch] = sum(parameter.numel() for parameter in model.parameters())
    corners = torch.rand(DETECTIONS, 2) * torch.tensor([500.0, 380.0])
    boxes = torch.cat([corners, corners + 10 + torch.rand(DETECTIONS, 2) * 200], dim=1)
    probs = torch.rand(DETECTIONS, 1, 1) * torch.linspace(0, 2, side).expand(side, -1)
    paste = partial(paste_to_rle, probs, boxes, 480, 640)
    _, seconds = cost("pasting and encoding at 640 x 480, per mask", paste, per=DETECTIONS, repetitions=repetitions)
    return Measured(
        head=head, head_forward=head_forward, head_parameters=head_parameters, paste_seconds=seconds, **detector
    )


def train_head(
    model: MaskModel, optimizer: torch.optim.Optimizer, features: Tensor, labels: Tensor, targets: Tensor
) -> None:
    """A step, as `maskx fit-transfer` does it."""
    optimizer.zero_grad()
    mask_loss(model(features, labels), targets).backward()
    optimizer.step()


def print_stages(measured: Measured, deep: Measured) -> None:
    """Hours of each stage for one model on COCO, and on Visual Genome, whose detector is ResNet-101 and never joint."""
    columns = [(costs, gpus) for costs in (measured, deep) for gpus in (1, 8)]
    hours = [stage_hours(costs, gpus=gpus) for costs, gpus in columns]
    print("| hours | COCO, 1 GPU | COCO, 8 GPUs | Visual Genome, 1 GPU | Visual Genome, 8 GPUs |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for stage in hours[0]:
        cells = [f"{each[stage]:.{1 if each[stage] > 0.05 else 2}f}" for each in hours]
        if stage.startswith("e2e"):
            cells[2:] = "--"
        print(f"| {stage} | {' | '.join(cells)} |")


def print_recipes(measured: Measured, deep: Measured) -> None:
    """Hours by stage and disk of each recipe; ``deep`` is measured with ResNet-101."""
    print(
        "| recipe | models | hours, 8 GPUs | hours, 1 GPU | of the hours on 8 GPUs | QUICK=1, 8 GPUs | 1 GPU | disk |"
    )
    print("| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |")
    rows = [(recipe, recipe.name, measured) for recipe in (*RECIPES, everything())]
    table2 = next(recipe for recipe in RECIPES if recipe.name == "`table2.sh`")
    rows += [(table2, "`table2.sh`, ResNet-101", deep), (VISUAL_GENOME, VISUAL_GENOME.name, deep)]
    for recipe, name, costs in rows:
        many, one = (cost_of(recipe, costs, gpus=gpus) for gpus in (8, 1))
        stages = sorted(many.hours, key=lambda stage: -many.hours[stage])[:3]
        most = ", ".join(f"{stage} {many.hours[stage]:.0f}" for stage in stages if many.hours[stage] >= 0.5)
        runs = sum(model.runs for model in recipe.models)
        quick = " | ".join(f"{cost_of(recipe, costs, gpus=gpus, quick=True).total:.0f}" for gpus in (8, 1))
        print(f"| {name} | {runs} | {many.total:.0f} | {one.total:.0f} | {most} | {quick} | {many.size / 1e9:.0f} GB |")


if __name__ == "__main__":
    main()
