"""How time grows with RoIs and with categories: the mask head's forward pass and a step of stage 2.

    python benchmarks/growth.py [--threads N] [--plot growth.svg]

Linear is 4x for 4x the RoIs; flat is 1x for more categories.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from full_size_cache import CHANNELS, MASK_SIZE, ROI_SIZE
from side_by_side import print_machine, print_table
from torch import nn

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.engine.device import amp_dtype, autocast, resolve_device
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel, build_mask_model

ROIS, CATEGORIES = (16, 64, 256), (80, 800, 3000)
_WIDTH = 1024


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def model_of(categories: int, device: torch.device) -> MaskModel:
    """`maskx fit-transfer` with its defaults, for so many categories."""
    weights = ClassWeights(
        w_cls=torch.randn(categories, _WIDTH) / 100,
        b_cls=torch.zeros(categories),
        w_box=torch.randn(categories, 4 * _WIDTH) / 1000,
        b_box=torch.zeros(categories, 4),
    )
    return build_mask_model(
        TransferConfig(),
        class_weights=weights,
        category_names=[f"category {number}" for number in range(categories)],
        in_channels=CHANNELS,
        roi_size=ROI_SIZE,
    ).to(device)


def measure(categories: int, rois: int, *, repeats: int) -> tuple[float, float]:
    """Seconds of a forward pass for inference and of a step of training."""
    device = resolve_device("auto")
    dtype = amp_dtype("auto", device)
    model = model_of(categories, device)
    features = torch.rand(rois, CHANNELS, ROI_SIZE, ROI_SIZE, device=device).half()
    labels = torch.randint(1, categories + 1, (rois,), device=device)
    targets = torch.randint(0, 2, (rois, MASK_SIZE, MASK_SIZE), dtype=torch.uint8, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def forward() -> None:
        with torch.inference_mode(), autocast(device, dtype):
            model(features, labels).sum().item()

    def step() -> None:
        with autocast(device, dtype):
            loss = mask_loss(model(features, labels), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    return median_seconds(forward, repeats), median_seconds(step, repeats)


def plot(found: dict[tuple[int, int], tuple[float, float]], path: Path) -> None:
    """Draw both, a line per number of categories."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for place, title in enumerate(("mask head, forward", "training step")):
        axes = figure.add_subplot(1, 2, place + 1, xscale="log", yscale="log", xlabel="RoIs", ylabel="seconds")
        axes.set_title(title, fontsize=10)
        for categories in CATEGORIES:
            axes.plot(ROIS, [found[categories, rois][place] for rois in ROIS], "o-", label=f"{categories} categories")
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def main() -> None:
    """Measure all sizes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--plot", type=Path, help="Also draw it: .svg, .pdf or .png.")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print_machine()
    found = {
        (categories, rois): measure(categories, rois, repeats=options.repeats)
        for rois in ROIS
        for categories in CATEGORIES
    }
    rows = []
    for (categories, rois), times in found.items():
        cells = [f"{rois} RoIs, {categories} categories"]
        for place in (0, 1):
            smaller = found[categories, max(rois // 4, ROIS[0])][place]
            fewer = found[CATEGORIES[0], rois][place]
            growth = "-" if rois == ROIS[0] else f"{times[place] / smaller:.2f}x"
            cells += [f"{1e3 * times[place] / rois:.2f}", growth, f"{times[place] / fewer:.2f}x"]
        rows.append(cells)
    header = [
        "",
        *(f"{what}, {how}" for what in ("forward", "step") for how in ("ms per RoI", "4x RoIs", "against 80")),
    ]
    print_table(header, rows)
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
