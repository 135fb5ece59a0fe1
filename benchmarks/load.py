"""Data sets of many boxes, in steps up to a part of Objects365's size (2 M images, 30 M boxes): time and memory.

    python benchmarks/load.py [--images 62500 250000] [--boxes 15]

Of each size: the first and the second opening of the annotation file, `maskx doctor` (which opens every image, here
small ones on a local disk), the start of a training up to its first batch, and the memory of its own (USS) of a worker
that has read 500 images. Each in a fresh process; the memory beside it is the most that process had.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, CATEGORIES = 96, 72, 365
_READ = 500


def main() -> None:
    """Generate each data set, measure, print the table, delete the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[62_500, 250_000])
    parser.add_argument("--boxes", type=int, default=15, help="boxes of an image")
    parser.add_argument("--folder", type=Path, help="where to generate")
    parser.add_argument("--one", choices=_MEASURED, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_MEASURED[options.one](options.folder)))
        return
    print("| images | boxes | file | what | seconds of CPU | wall seconds | GB, at most |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: |")
    for images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            _measure(Path(folder), images, images * options.boxes)


def _measure(folder: Path, images: int, boxes: int) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    write_data_set(folder, images=images, boxes=boxes)
    time.sleep(3)  # a file that was only just written is not indexed
    size = (folder / "train.json").stat().st_size / 1e9
    program = [sys.executable, __file__, "--folder", str(folder), "--one"]
    maskx = [sys.executable, "-m", "maskx_pipeline", "doctor", "--project", str(folder)]
    for name, command in (
        ("first opening", [*program, "open"]),
        ("second opening", [*program, "open"]),
        ("`maskx doctor`", maskx),
        ("start of `detect train`, to its first batch", [*program, "start"]),
    ):
        began = time.perf_counter()
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            output.seek(0)
            said = output.read().splitlines()
        if os.waitstatus_to_exitcode(status) not in (0, 3):
            raise SystemExit(f"{name} failed: {said[-3:]}")
        cpu = usage.ru_utime + usage.ru_stime
        head = f"| {images:,} | {boxes:,} | {size:.2f} GB"
        print(f"{head} | {name} | {cpu:.1f} | {wall:.1f} | {usage.ru_maxrss / 1e6:.2f} |", flush=True)
    print(f"{head} | a worker's own memory | - | - | {json.loads(said[-1]) / 1e9:.3f} |", flush=True)


def write_data_set(folder: Path, *, images: int, boxes: int, seed: int = 0) -> None:
    """Write train and a small val of boxes without masks, their images, and a project."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((WIDTH, HEIGHT)).save(stream, "JPEG", quality=50)
    for part, number, of_part in (("train", images, boxes), ("val", 100, 1500)):
        (folder / part).mkdir()
        lengths = random.integers(0, 2000, number)
        for image in range(number):
            unlike = f"{part} {image}".encode().ljust(int(lengths[image]), b".")  # no image is a copy of another
            (folder / part / f"{image:08d}.jpg").write_bytes(stream.getvalue() + unlike + b"\xff\xd9")
        _write_annotations(folder / f"{part}.json", random, images=number, boxes=of_part)
    project = "[data]\n" + "".join(
        f'{part}-images = "{part}"\n{part}-annotations = "{part}.json"\n' for part in ("train", "val")
    )
    (folder / "maskx.toml").write_text(project)


def _write_annotations(path: Path, random: np.random.Generator, *, images: int, boxes: int) -> None:
    owners = random.integers(0, images, boxes)
    sides = random.uniform(4, HEIGHT - 1, (boxes, 2))
    corners = random.uniform(0, 1, (boxes, 2)) * (np.array([WIDTH, HEIGHT]) - sides)
    labels = random.integers(1, CATEGORIES + 1, boxes)
    with path.open("w", encoding="ascii") as stream:
        stream.write('{"images": [')
        stream.write(", ".join(
            f'{{"id": {image + 1}, "file_name": "{image:08d}.jpg", "width": {WIDTH}, "height": {HEIGHT}}}'
            for image in range(images)
        ))  # fmt: skip
        stream.write('], "annotations": [')
        for number in range(boxes):
            (x, y), (width, height) = corners[number], sides[number]
            stream.write(
                f'{", " if number else ""}{{"id": {number + 1}, "image_id": {owners[number] + 1}, "category_id": '
                f'{labels[number]}, "bbox": [{x:.2f}, {y:.2f}, {width:.2f}, {height:.2f}], "area": '
                f'{width * height:.1f}, "iscrowd": 0}}'
            )
        names = [{"id": number, "name": f"thing {number}"} for number in range(1, CATEGORIES + 1)]
        stream.write(f'], "categories": {json.dumps(names)}}}')


def _open(folder: Path) -> int:
    from maskx_pipeline.data.coco import read_coco

    return len(read_coco(folder / "train.json", folder / "train").images)


def _start(folder: Path) -> int:
    """Read the data as a training does, up to the first batch; then a worker's own bytes."""
    from maskx_pipeline.config import DataConfig
    from maskx_pipeline.data.dataset import DetectionDataset, batches
    from maskx_pipeline.project import read_project
    from maskx_pipeline.stages.inputs import read_data

    train, _ = read_data(read_project(folder).load(DataConfig), accepted={})
    dataset = DetectionDataset(train, flip_probability=0.5, seed=0)
    next(batches(dataset, images_per_batch=16, start=0, iterations=1, seed=0, workers=0))
    chosen = np.random.default_rng(0).permutation(len(dataset))[:_READ].tolist()
    return _own_bytes(lambda: [dataset[number] for number in chosen])


_MEASURED: dict[str, Callable[[Path], int]] = {"open": _open, "start": _start}


def _own_bytes(work: Callable[[], object]) -> int:
    """What a forked worker has of its own after its work, beside what it shares with its parent."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        work()
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        own = sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024
        os.write(writer, str(own).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(reader, 100))


if __name__ == "__main__":
    main()
