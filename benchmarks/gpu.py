"""What a GPU takes for what docs/explanation/scale.md estimates: a table, each row printed as it is done.

    benchmarks/gpu.sh [--tiny] [--only detector export stage-2 reader e2e predict loading] [--repeats 5]

At full size: ResNet-50-FPN on images of 480 x 640, resized to 800 x 1066; 256 channels of 14 x 14. Random weights,
which speed does not depend on, and generated images, so that nothing is downloaded. In turns with torchvision's own
training step or inference where it has one, in the same precision. The memory is the most that PyTorch had allocated in
a call of ours. The share is of the rate of a product of two large matrices in the same precision, measured in the
beginning.
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import e2e_step
import from_cache
import gpu_detector
import inference
import stage2_step
import torch
from full_size_cache import write_full_size_cache
from side_by_side import Measured, print_machine, print_table, side_by_side
from torch.utils.flop_counter import FlopCounterMode

from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.engine.device import amp_dtype, deterministic, resolve_device

Call = Callable[[], object]
Row = list[str]
HEADER = ["what", "each, ms", "reference, ms", "as fast as it", "a second", "TFLOP/s", "share", "GiB"]


@dataclass(frozen=True)
class Sizes:
    """Of what is measured."""

    side: int = 800
    batches: tuple[int, ...] = (2, 16)
    joint: tuple[int, ...] = (2, 8)
    rois: tuple[int, ...] = (128, 1024)
    cached: int = 8192
    images: int = 12
    matrix: int = 8192
    repeats: int = 5


TINY = Sizes(side=64, batches=(1, 2), joint=(1,), rois=(4, 8), cached=192, images=4, matrix=256, repeats=1)


class Bench:
    """The device, the sizes, and how a row is made."""

    def __init__(self, sizes: Sizes, folder: Path) -> None:
        self.sizes, self.folder = sizes, folder
        self.device = resolve_device("auto")
        self.cuda = self.device.type == "cuda"
        self.rates: dict[torch.dtype | None, float] = {}

    def matrix_rates(self) -> Iterator[Row]:
        """Of products of matrices: what shares are of. Convolutions in float32 are computed in TF32 by default."""
        before = torch.backends.cuda.matmul.allow_tf32
        for name, dtype, tf32 in (
            ("bf16", torch.bfloat16, False), ("float32", torch.float32, False), ("TF32", torch.float32, True),
        ):  # fmt: skip
            torch.backends.cuda.matmul.allow_tf32 = tf32
            rate = stage2_step.matrix_rate(dtype, self.device, self.sizes.matrix)
            self.rates[None if dtype == torch.float32 else dtype] = rate
            yield [f"matrix product of {self.sizes.matrix}, {name}", "", "", "", "", f"{rate / 1e12:.1f}", "1.00", ""]
        torch.backends.cuda.matmul.allow_tf32 = before

    def row(
        self,
        name: str,
        ours: Call,
        reference: Call | None = None,
        *,
        each: int,
        unit: str,
        flop: float = 0.0,
        dtype: torch.dtype | None = None,
        make_reference: Callable[[], Call] | None = None,
    ) -> Row:
        """Time a call, and the reference in turns with it.

        Args:
            make_reference: Makes the reference after the memory of ours was measured, so that its own does not count.
            each: How many of ``unit`` a call does.
            flop: Of a call; 0 where they were not counted.
            dtype: The precision, for the share.
        """
        memory = self._memory(ours)
        if make_reference is not None:
            reference = make_reference()
        measured = side_by_side(ours, reference or (lambda: None), repeats=self.sizes.repeats, warm_up=1)
        return self.cells(name, measured, each, unit, memory, flop, dtype, compared=reference is not None)

    def cells(
        self,
        name: str,
        measured: Measured,
        each: int,
        unit: str,
        memory: str = "",
        flop: float = 0.0,
        dtype: torch.dtype | None = None,
        *,
        compared: bool = True,
    ) -> Row:
        """A row of what was measured."""
        milliseconds, reference, ratio = measured.cells(each=each)
        seconds = sorted(measured.ours)[len(measured.ours) // 2]
        speed = flop / seconds
        return [
            name,
            milliseconds,
            reference if compared else "",
            ratio if compared else "",
            f"{each / seconds:,.0f} {unit}" if each / seconds >= 100 else f"{each / seconds:.3g} {unit}",
            f"{speed / 1e12:.1f}" if flop else "",
            f"{speed / self.rates[dtype]:.2f}" if flop and dtype in self.rates else "",
            memory,
        ]

    def fixed(self, call: Call) -> Call:
        """The same with --deterministic."""

        def run() -> None:
            with deterministic(True, self.device):
                call()

        return run

    def _memory(self, call: Call) -> str:
        if not self.cuda:
            call()
            return ""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"


def detector(bench: Bench) -> Iterator[Row]:
    """The training step of the detector, beside torchvision's Faster R-CNN."""
    for images, amp in itertools.product(bench.sizes.batches, ("bf16", "off")):
        dtype = amp_dtype(amp, bench.device)
        batch = gpu_detector.make_batch(images, bench.sizes.side, bench.device)
        ours = gpu_detector.our_step(batch, bench.sizes.side, amp, bench.device)
        theirs = functools.partial(gpu_detector.torchvision_step, batch, bench.sizes.side, amp, bench.device)
        with FlopCounterMode(display=False) as counter:
            ours()
        name = f"detector, training step, {images} images, {'bf16' if dtype else 'float32'}"
        flop = counter.get_total_flops()
        yield bench.row(name, ours, make_reference=theirs, each=images, unit="images", flop=flop, dtype=dtype)
        if dtype and bench.cuda:
            fixed = bench.fixed(ours)
            yield bench.row(f"{name}, --deterministic; without", fixed, ours, each=images, unit="images")


def export(bench: Bench) -> Iterator[Row]:
    """Export and evaluation of a whole project on the disk, images and annotations included."""
    sizes = bench.sizes
    folder = bench.folder / "project"
    data = from_cache.make_project(folder, images=sizes.images, side=sizes.side, detections=100)
    for name, measured, images in from_cache.time_export(folder, data, repeats=sizes.repeats, workers=4):
        yield bench.cells(f"{name}", measured, images, "images")
    name, measured, images = from_cache.time_evaluation(folder, data, repeats=sizes.repeats)
    yield bench.cells(f"{name}, 100 detections", measured, images, "images")


def stage_2(bench: Bench) -> Iterator[Row]:
    """The training step of the mask model on tensors that lie on the device: the default, and the authors' number."""
    sizes, path = bench.sizes, bench.folder / "float16.h5"
    write_full_size_cache(path, rois=sizes.cached)
    with RoICache(path) as cache:
        for rois, amp in itertools.product(sizes.rois, ("bf16", "off")):
            model = stage2_step.Stage2(cache, amp=amp)
            kept = tensors(cache, rois, bench.device)
            corner = 400 * torch.rand(rois, 2, device=bench.device)
            objects = torch.cat([corner, corner + 50 + 100 * torch.rand(rois, 2, device=bench.device)], dim=1)
            boxes = (*kept[:2], objects, objects + 5)
            with FlopCounterMode(display=False) as counter:
                model.step(*kept)
            flop, precision = counter.get_total_flops(), "bf16" if model.dtype else "float32"
            step = functools.partial(model.step, *kept)
            name = f"stage 2, step of {rois} RoIs with masks, {precision}"
            yield bench.row(name, step, each=rois, unit="RoIs", flop=flop, dtype=model.dtype)
            with_boxes = functools.partial(step, boxes=boxes, name="projection")
            name_of_both = f"stage 2, step of {rois} with masks and {rois} with boxes, {precision}"
            yield bench.row(name_of_both, with_boxes, each=2 * rois, unit="RoIs", flop=2 * flop, dtype=model.dtype)
            if model.dtype and bench.cuda:
                yield bench.row(f"{name}, --deterministic; without", bench.fixed(step), step, each=rois, unit="RoIs")


def tensors(cache: RoICache, rois: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """A batch that stays."""
    with stage2_step.batches_of(cache, rois, device, "disk") as batches:
        return tuple(column.clone() for column in batches.batch(0))


def reader(bench: Bench) -> Iterator[Row]:
    """Batches from wherever the features are kept, alone and under training steps; the file is in the page cache."""
    sizes = bench.sizes
    for kind, rois in itertools.product(("float16", "int8"), sizes.rois):
        path = bench.folder / f"{kind}.h5"
        if not path.exists():
            write_full_size_cache(path, rois=sizes.cached, feature_dtype=kind)
        with RoICache(path) as cache:
            model = stage2_step.Stage2(cache, amp="bf16")
            kept = tensors(cache, rois, bench.device)
            for place in ("disk", "ram", *(["gpu"] if bench.cuda else [])):
                with stage2_step.batches_of(cache, rois, bench.device, place) as batches:
                    yield from _reader_rows(bench, f"{kind} in {place}, {rois} RoIs", batches, model, kept, rois)


def _reader_rows(
    bench: Bench,
    name: str,
    batches: stage2_step.RoIBatches,
    model: stage2_step.Stage2,
    kept: tuple[torch.Tensor, ...],
    rois: int,
) -> Iterator[Row]:
    steps, count = itertools.count(), 4

    def read() -> None:
        for _ in range(count):
            batches.batch(next(steps))

    def train() -> None:
        for _ in range(count):
            model.step(*batches.batch(next(steps)))

    def in_memory() -> None:
        for _ in range(count):
            model.step(*kept)

    yield bench.row(f"reader alone, {name}", read, each=count * rois, unit="RoIs")
    yield bench.row(f"steps, {name}; from tensors", train, in_memory, each=count * rois, unit="RoIs")


def joint(bench: Bench) -> Iterator[Row]:
    """The step of joint training, beside torchvision's Mask R-CNN, with the masks of every second category."""
    for images in bench.sizes.joint:
        data = e2e_step.make_data(bench.folder / f"joint{images}", images=images, size=bench.sizes.side)
        seen = [category.label for category in data.categories][::2]
        for amp, name in (("bf16", "bf16"), ("off", "float32")):
            sizes = {"images": images, "size": bench.sizes.side, "amp": amp}
            theirs = functools.partial(e2e_step.torchvision_step, data, **sizes)
            yield bench.row(
                f"e2e, training step, {images} images, {name}",
                e2e_step.our_step(data, seen=seen, **sizes), make_reference=theirs, each=images, unit="images",
            )  # fmt: skip


def predict(bench: Bench) -> Iterator[Row]:
    """From an image to masks, beside torchvision's Mask R-CNN."""
    for name, *cells, _ in inference.compare(size=bench.sizes.side, repeats=bench.sizes.repeats, warm_up=1):
        yield [f"an image {name}", *cells, f"{1000 / float(cells[0]):.3g} images", "", "", ""]


def loading(bench: Bench) -> Iterator[Row]:
    """Images read, decoded and brought to the device, as in training, by the number of processes."""
    for workers in (4, 8, 14):
        yield bench.cells(
            f"images of 480 x 640 read for training, --workers {workers}",
            gpu_detector.time_loading(bench.folder / "jpeg", bench.device, workers=workers, images=bench.sizes.images),
            16, "images", compared=False,
        )  # fmt: skip


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "detector": detector, "stage-2": stage_2, "reader": reader, "export": export, "e2e": joint, "predict": predict,
    "loading": loading,
}  # fmt: skip


def rows(bench: Bench, parts: list[str]) -> Iterator[Row]:
    """All rows; a part that fails is a row too, and the others follow."""
    yield from bench.matrix_rates()
    for part in parts:
        began = time.perf_counter()
        try:
            yield from PARTS[part](bench)
        except (Exception, SystemExit) as error:
            said = str(error).strip().split("\n")[0][:200]
            yield [f"{part} failed: {type(error).__name__}: {said}", *[""] * (len(HEADER) - 1)]
            logging.getLogger("gpu").exception("%s", part)
        print(f"{part}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        gc.collect()
        if bench.cuda:
            torch.cuda.empty_cache()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tiny", action="store_true", help="Small sizes, to see that it runs.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="These parts alone.")
    parser.add_argument("--repeats", type=int, help="Of each call [default: 5].")
    parser.add_argument("--folder", type=Path, help="Where files are written for the time being.")
    options = parser.parse_args()
    sizes = TINY if options.tiny else Sizes()
    if options.repeats:
        sizes = Sizes(**{**vars(sizes), "repeats": options.repeats})
    logging.getLogger("maskx").setLevel(logging.ERROR)
    print_machine()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print_table(HEADER, rows(Bench(sizes, Path(folder)), options.only))


if __name__ == "__main__":
    main()
