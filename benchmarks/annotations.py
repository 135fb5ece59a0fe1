"""Opening an annotation file as large as COCO train2017, beside pycocotools: seconds, and memory per worker.

Each opening runs in a fresh process, in turns; so does the worker, which is forked from a process that has the file
open, and then reads the boxes and masks of every image. Memory is the worker's own (USS): pages that it shares with
its parent do not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from annotations_data import ANNOTATIONS, IMAGES, write_annotations

_KINDS = ("pycocotools", "first", "second")


def main() -> None:
    """Generate the file, measure, print the tables, delete the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="part of COCO's size")
    parser.add_argument("--file", type=Path, help="an annotation file to measure instead of a generated one")
    parser.add_argument("--one", choices=_KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*_measure(options.one, options.file))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        path = options.file or Path(folder) / "instances.json"
        if options.file is None:
            write_annotations(path, images=int(IMAGES * options.scale), annotations=int(ANNOTATIONS * options.scale))
        time.sleep(3)  # a file that was only just written is not indexed
        found: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
        for _ in range(options.repeats):
            for index in Path(folder).glob("maskx/annotations/*"):
                index.unlink()
            for kind in _KINDS:
                command = [sys.executable, __file__, "--one", kind, "--file", str(path)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[kind].append([float(cell) for cell in output.splitlines()[-1].split()])
                print(kind, found[kind][-1], file=sys.stderr, flush=True)
        print(f"{path.stat().st_size / 1e6:.0f} MB, Python {sys.version.split()[0]}, {options.repeats} repetitions\n")
    _print_tables(found)


def _print_tables(found: dict[str, list[list[float]]]) -> None:
    seconds, cpu, memory = ({kind: [row[i] for row in rows] for kind, rows in found.items()} for i in range(3))
    names = {"first": "maskx, first opening", "second": "maskx, second opening"}
    print("| opening | seconds of CPU | wall seconds | CPU: pycocotools / this |\n| --- | ---: | ---: | ---: |")
    print(f"| pycocotools | {_median(cpu['pycocotools'])} | {_median(seconds['pycocotools'])} | |")
    for kind, name in names.items():
        ratio = statistics.median(a / b for a, b in zip(cpu["pycocotools"], cpu[kind], strict=True))
        print(f"| {name} | {_median(cpu[kind])} | {_median(seconds[kind])} | {ratio:.1f}x |")
    print("\n| a worker that reads the annotations of each image | MB of its own | of pycocotools' |")
    print("| --- | ---: | ---: |")
    print(f"| pycocotools | {_median(memory['pycocotools'])} | |")
    for kind, name in names.items():
        ratio = statistics.median(a / b for a, b in zip(memory[kind], memory["pycocotools"], strict=True))
        print(f"| {name} | {_median(memory[kind])} | 1/{1 / ratio:.0f} |")


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.3g}"


def _measure(kind: str, path: Path) -> tuple[float, float, float]:
    """Wall seconds and CPU seconds of the opening, and MB of a worker's own memory."""
    if kind == "pycocotools":
        from pycocotools.coco import COCO

        began, began_cpu = time.perf_counter(), time.process_time()
        coco = COCO(str(path))
        times = time.perf_counter() - began, time.process_time() - began_cpu
        return *times, _worker_memory(lambda: [_touch(coco.imgToAnns[i]) for i in coco.imgs])
    from maskx_pipeline.data.coco import read_coco

    began, began_cpu = time.perf_counter(), time.process_time()
    data = read_coco(path, path.parent, check_files=False)
    times = time.perf_counter() - began, time.process_time() - began_cpu
    return *times, _worker_memory(lambda: [bool(data.annotations_of(image.id)) for image in data.images])


def _touch(annotations: list[dict[str, object]]) -> None:
    """Look at what a data set would convert to tensors: the box and the points."""
    for annotation in annotations:
        _ = [*annotation["bbox"]], annotation["category_id"], annotation["iscrowd"]
        if isinstance(annotation["segmentation"], list):
            _ = [[*polygon] for polygon in annotation["segmentation"]]


def _worker_memory(work: Callable[[], object]) -> float:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        work()
        os.write(writer, str(_uss()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(reader, 100))


def _uss() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


if __name__ == "__main__":
    main()
