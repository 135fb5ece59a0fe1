"""How time grows: mask head and a step of stage 2 with RoIs and categories, the whole model with the size of images.

    python benchmarks/growth.py [--threads N] [--plot docs/explanation/growth.svg]

Linear is 4x for 4x the RoIs or 4x the pixels; flat is 1x for more categories. The whole model, ResNet-50-FPN with
random weights, goes from an image to the masks of 100 detections.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from full_size_cache import CHANNELS, MASK_SIZE, ROI_SIZE
from inference import make_models
from side_by_side import print_machine, print_table
from torch import nn

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.detection.class_weights import ClassWeights
from maskx_pipeline.engine.device import amp_dtype, autocast, resolve_device
from maskx_pipeline.transfer.construction import new_mask_model
from maskx_pipeline.transfer.loss import mask_loss
from maskx_pipeline.transfer.mask_model import MaskModel

ROIS, CATEGORIES, SIDES = (16, 64, 256), (80, 800, 3000), (400, 800, 1600)
_WIDTH = 1024


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that is not counted: on the CPU its seconds of CPU, summed over threads."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    call()
    times = []
    for _ in range(repeats):
        began = clock()
        call()
        times.append(clock() - began)
    return statistics.median(times)


def model_of(categories: int, device: torch.device) -> MaskModel:
    """`maskx fit-transfer` with its defaults, for so many categories."""
    weights = ClassWeights(
        w_cls=torch.randn(categories, _WIDTH) / 100,
        b_cls=torch.zeros(categories),
        w_box=torch.randn(categories, 4 * _WIDTH) / 1000,
        b_box=torch.zeros(categories, 4),
    )
    return new_mask_model(
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


def measure_image(side: int, *, repeats: int) -> float:
    """Seconds of the whole model on an image whose short side is resized to ``side`` pixels, 4:3."""
    device = resolve_device("auto")
    in_float32, in_bf16, _ = make_models(side, device)
    model = in_float32 if amp_dtype("auto", device) is None else in_bf16
    image = torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0))
    image = image.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return median_seconds(lambda: model.predict(image), repeats)


def plot(
    found: dict[tuple[int, int], tuple[float, float]], images: dict[int, float], path: Path, *, title: str
) -> None:
    """Draw RoIs and categories for both, a line per number of categories, and image sizes; dotted is linear."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth"})
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    figure.suptitle(title, fontsize=8)
    logarithmic = {"xscale": "log", "yscale": "log", "ylabel": "seconds"}
    for place, what in enumerate(("mask head, forward", "training step")):
        axes = figure.add_subplot(1, 3, place + 1, xlabel="RoIs", title=what, **logarithmic)
        for categories, marker in zip(CATEGORIES, "osx", strict=True):
            seconds = [found[categories, rois][place] for rois in ROIS]
            axes.plot(ROIS, seconds, f"{marker}-", label=f"{categories} categories", fillstyle="none")
        first = found[CATEGORIES[0], ROIS[0]][place]
        axes.plot(ROIS, [first * rois / ROIS[0] for rois in ROIS], "k:", label="linear")
        axes.legend(frameon=False, fontsize=8)
    axes = figure.add_subplot(1, 3, 3, xlabel="megapixels", title="whole model, image to masks", **logarithmic)
    pixels = [side * side * 4 / 3 / 1e6 for side in images]
    axes.plot(pixels, list(images.values()), "o-", fillstyle="none")
    axes.plot(pixels, [images[SIDES[0]] * count / pixels[0] for count in pixels], "k:", label="linear")
    axes.legend(frameon=False, fontsize=8)
    for axes, ticks in zip(figure.axes, (ROIS, ROIS, pixels), strict=True):
        axes.minorticks_off()
        axes.set_xticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def print_growth(found: dict[tuple[int, int], tuple[float, float]], images: dict[int, float]) -> None:
    """Two tables."""
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
    print()
    sizes = []
    for side, seconds in images.items():
        growth = "-" if side == SIDES[0] else f"{seconds / images[side // 2]:.2f}x"
        sizes.append([f"{side} x {side * 4 // 3}", f"{1e3 * seconds:.0f}", growth])
    print_table(["pixels of the resized image", "image to masks, ms", "4x pixels"], sizes)


def main() -> None:
    """Measure all sizes, print the tables."""
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
    images = {side: measure_image(side, repeats=options.repeats) for side in SIDES}
    print_growth(found, images)
    if options.plot:
        title = f"{torch.get_num_threads()} thread(s), medians of {options.repeats}; dotted: linear"
        plot(found, images, options.plot, title=title)


if __name__ == "__main__":
    main()
