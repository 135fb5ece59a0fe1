"""A training step of stage 2 at full size, from the RoI cache on disk, against what people would use instead.

    python benchmarks/stage2_step.py [--rois 16 64] [--image-side 800] [--threads N] [--compile]

Against torchvision's Mask R-CNN (ResNet-50-FPN, random weights: speed does not depend on them) on two images, with
everything but the mask head frozen and under no_grad. It gets as many RoIs a step as ours, and is spared the proposal
network and the box head, which its own training would run too. Then against the same step on tensors in memory, and
against the bare convolutions at the rate of this machine's matrix product in the same precision, which takes turns with
the step. As in training on a CPU, freed memory is kept; so it is for all that is compared. With ``--compile``,
also the step whose model and loss torch.compile has compiled, which needs a C++ compiler, against the step as it is.
Last, a step with box losses on as many RoIs as masks supervise, against one in which masks supervise all of them.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from full_size_cache import CHANNELS, MASK_SIZE, ROI_SIZE, write_full_size_cache
from side_by_side import Measured, print_machine, print_table, side_by_side
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import maskrcnn_resnet50_fpn

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.device import amp_dtype, autocast, precision_name, resolve_device
from maskx_pipeline.engine.schedule import build_optimizer
from maskx_pipeline.transfer.box_losses import BoxLosses
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel
from maskx_pipeline.transfer.roi_batches import Drawing, RoIBatches, mask_rois

Step = Callable[[], object]
_MATRIX, _PRODUCTS = 2048, 8


class Stage2:
    """The model and step of `maskx fit-transfer` with its default settings."""

    def __init__(self, cache: RoICache, *, amp: str, compiled: bool = False) -> None:
        self.device = resolve_device("auto")
        self.dtype = amp_dtype(amp, self.device)
        config = TransferConfig()
        names = [category.name for category in cache.categories]
        self.model: MaskModel = new_mask_model(
            config,
            class_weights=cache.class_weights,
            category_names=names,
            in_channels=cache.channels,
            roi_size=cache.roi_size,
        ).to(self.device)
        self.optimizer = build_optimizer(self.model, lr=0.02, momentum=0.9, weight_decay=1e-4, bias_lr_factor=2.0)
        self.loss = torch.compile(self._loss) if compiled else self._loss

    def _loss(self, roi_features: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
        return mask_loss(self.model(roi_features, labels), targets)

    def step(
        self, roi_features: Tensor, labels: Tensor, targets: Tensor, boxes: Sequence[Tensor] = (), name: str = "none"
    ) -> None:
        """One step of training; ``boxes`` are a batch that the box losses of this name supervise."""
        with autocast(self.device, self.dtype):
            loss = self.loss(roi_features, labels, targets)
            if boxes:
                of_boxes, box_labels, *supervision = boxes
                found = BoxLosses.named(name)(self.model(of_boxes, box_labels), *supervision)
                loss = loss + torch.stack(list(found.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()


def torchvision_step(*, rois: int, side: int, amp: str, device: torch.device) -> Step:
    """Mask R-CNN's step with a frozen detector: both images through the backbone, RoIAlign, mask head, loss."""
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=side, max_size=5 * side // 3).to(device)
    model.eval()
    heads, dtype = model.roi_heads, amp_dtype(amp, device)
    trained = [*heads.mask_head.parameters(), *heads.mask_predictor.parameters()]
    optimizer = torch.optim.SGD(trained, lr=0.02, momentum=0.9, weight_decay=1e-4)
    images = [torch.rand(3, side, side * 4 // 3, device=device) for _ in range(2)]
    corner = torch.rand(rois, 2) * side / 2
    boxes = torch.cat([corner, corner + 32 + torch.rand(rois, 2) * side / 3], dim=1).to(device)
    labels = torch.randint(1, 91, (rois,), device=device)
    targets = torch.randint(0, 2, (rois, MASK_SIZE, MASK_SIZE), device=device).float()

    def step() -> None:
        with torch.no_grad(), autocast(device, dtype):
            batch, _ = model.transform(images)
            features = model.backbone(batch.tensors)
            pooled = heads.mask_roi_pool(features, [boxes[: rois // 2], boxes[rois // 2 :]], batch.image_sizes)
        with autocast(device, dtype):
            logits = heads.mask_predictor(heads.mask_head(pooled))[torch.arange(rois, device=device), labels]
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def matrix_rate(dtype: torch.dtype, device: torch.device, side: int = _MATRIX) -> float:
    """FLOP/s of a square matrix product, the best of a few."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        began = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def matrix_products(dtype: torch.dtype, device: torch.device) -> Step:
    """Square matrix products, as many as last about as long as a step."""
    left, right = (torch.randn(_MATRIX, _MATRIX, device=device).to(dtype) for _ in range(2))

    def products() -> None:
        for _ in range(_PRODUCTS):
            left @ right

    return products


def main() -> None:
    """Write a cache, time the steps in turns, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rois", type=int, nargs="+", default=[16, 64], help="RoIs of a step, over two images.")
    parser.add_argument("--image-side", type=int, default=800)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="Threads of PyTorch; by default its own choice.")
    parser.add_argument("--compile", action="store_true", help="Also the step compiled by torch.compile.")
    parser.add_argument("--folder", type=Path, help="Where the cache is written for the time being.")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print_machine()
    rows: list[list[str]] = []
    utilisation: list[list[str]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = write_full_size_cache(Path(folder, "cache.h5"), rois=64 * max(options.rois))
        with RoICache(path) as cache:
            for rois in options.rois:
                for amp in ("auto", "off"):
                    rows += _against_torchvision(cache, rois=rois, amp=amp, options=options)
                own, share = _against_memory_and_matrix(cache, rois=rois, repeats=options.repeats)
                rows += [own, _disk_against_ram(cache, rois=rois, repeats=options.repeats)]
                rows += _boxes_against_more_masks(cache, rois=rois, repeats=options.repeats)
                utilisation.append(share)
                if options.compile:
                    rows.append(_compiled_against_eager(cache, rois=rois, repeats=options.repeats))
    print_table(["a step on", "ours, ms per RoI", "reference, ms per RoI", "as fast as the reference"], rows)
    print("\nBare convolutions of the head at the rate of a 2048 x 2048 x 2048 matrix product:\n")
    print_table(["a step on", "GFLOP", "matrix product, GFLOP/s", "step, GFLOP/s", "share of the rate"], utilisation)


def batches_of(cache: RoICache, rois: int, device: torch.device, cache_in: str) -> RoIBatches:
    drawing = Drawing(seed=0, device=device, cache_in=cache_in)
    return mask_rois(cache, range(1, 81), drawing, rois_per_batch=rois)


def _disk_against_ram(cache: RoICache, *, rois: int, repeats: int) -> list[str]:
    """The same steps with --cache-in disk and --cache-in ram."""
    stage2 = Stage2(cache, amp="auto")
    with (
        batches_of(cache, rois, stage2.device, "disk") as on_disk,
        batches_of(cache, rois, stage2.device, "ram") as in_ram,
    ):
        disk_steps, ram_steps = itertools.count(), itertools.count()
        measured = side_by_side(
            lambda: stage2.step(*on_disk.batch(next(disk_steps))),
            lambda: stage2.step(*in_ram.batch(next(ram_steps))),
            repeats=3 * repeats,
        )
    name = precision_name(stage2.dtype)
    return [f"{rois} RoIs in {name}, --cache-in ram in place of disk", *measured.cells(each=rois)]


def _boxes_against_more_masks(cache: RoICache, *, rois: int, repeats: int) -> list[list[str]]:
    """Half of the RoIs supervised by boxes, against all of them by masks; from tensors in memory."""
    stage2, half = Stage2(cache, amp="auto"), rois // 2
    with batches_of(cache, rois, stage2.device, "auto") as seen_rois:
        kept = tuple(column.clone() for column in seen_rois.batch(0))
    masks = tuple(column[:half] for column in kept)
    corner = torch.rand(half, 2, device=stage2.device) * 400
    objects = torch.cat([corner, corner + 50 + 100 * torch.rand(half, 2, device=stage2.device)], dim=1)
    jitter = 10 * torch.randn(half, 4, device=stage2.device)
    colours = torch.randint(0, 256, (half, MASK_SIZE, MASK_SIZE, 3), dtype=torch.uint8, device=stage2.device)
    rows = []
    for name, supervision in (("projection", ()), ("projection+pairwise", (colours,))):
        boxes = (kept[0][half:], kept[1][half:], objects, objects + jitter, *supervision)
        with_boxes = functools.partial(stage2.step, *masks, boxes=boxes, name=name)
        measured = side_by_side(with_boxes, lambda: stage2.step(*kept), repeats=3 * repeats)
        title = f"{rois} RoIs in {precision_name(stage2.dtype)}, half of them by {name}, against all by masks"
        rows.append([title, *measured.cells(each=rois)])
    return rows


def _compiled_against_eager(cache: RoICache, *, rois: int, repeats: int) -> list[str]:
    """The same step on tensors in memory, compiled and as it is; compiling is the warm-up."""
    compiled, eager = Stage2(cache, amp="auto", compiled=True), Stage2(cache, amp="auto")
    with batches_of(cache, rois, eager.device, "auto") as seen_rois:
        kept = tuple(column.clone() for column in seen_rois.batch(0))
    measured = side_by_side(lambda: compiled.step(*kept), lambda: eager.step(*kept), repeats=3 * repeats, warm_up=2)
    return [f"{rois} RoIs in {precision_name(eager.dtype)}, compiled against as it is", *measured.cells(each=rois)]


def _against_torchvision(cache: RoICache, *, rois: int, amp: str, options: argparse.Namespace) -> list[list[str]]:
    """Ours in this precision against torchvision in float32, its default, and, once, in ours."""
    stage2 = Stage2(cache, amp=amp)
    name = "float32" if stage2.dtype is None else "bf16"
    references = ["off"] if name == "float32" else ["off", "bf16"]
    rows = []
    with batches_of(cache, rois, stage2.device, "auto") as seen_rois:
        steps = iter(range(10**6))
        for reference in references:
            other = torchvision_step(rois=rois, side=options.image_side, amp=reference, device=stage2.device)
            measured = side_by_side(
                lambda: stage2.step(*seen_rois.batch(next(steps))), other, repeats=options.repeats, warm_up=1
            )
            against = "float32" if reference == "off" else "bf16"
            rows.append([f"{rois} RoIs in {name}, torchvision in {against}", *measured.cells(each=rois)])
    return rows


def _against_memory_and_matrix(cache: RoICache, *, rois: int, repeats: int) -> tuple[list[str], list[str]]:
    stage2 = Stage2(cache, amp="auto")
    dtype = stage2.dtype or torch.float32
    with batches_of(cache, rois, stage2.device, "auto") as seen_rois:
        steps = iter(range(10**6))
        kept = tuple(column.clone() for column in seen_rois.batch(next(steps)))
        measured: Measured = side_by_side(
            lambda: stage2.step(*seen_rois.batch(next(steps))), lambda: stage2.step(*kept), repeats=3 * repeats
        )
        with FlopCounterMode(display=False) as counter:
            head = stage2.model.head
            out = head(torch.zeros(rois, CHANNELS, ROI_SIZE, ROI_SIZE, device=stage2.device))
            out.sum().backward()
        flops = counter.get_total_flops()
    in_turns = side_by_side(
        lambda: stage2.step(*kept), matrix_products(dtype, stage2.device), repeats=3 * repeats, warm_up=1
    )
    seconds, of_products = (statistics.median(times) for times in (in_turns.ours, in_turns.reference))
    product_flops = _PRODUCTS * 2 * _MATRIX**3
    name = str(dtype).removeprefix("torch.")
    share = flops / product_flops * in_turns.ratio
    return (
        [f"{rois} RoIs in {name}, the same on tensors in memory", *measured.cells(each=rois)],
        [
            f"{rois} RoIs in {name}",
            f"{flops / 1e9:.1f}",
            f"{product_flops / of_products / 1e9:.0f}",
            f"{flops / seconds / 1e9:.0f}",
            f"{share:.2f}x",
        ],
    )


if __name__ == "__main__":
    main()
