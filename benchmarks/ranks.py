"""How much faster two processes are than one, on a CPU with a thread for each: fit, evaluate, predict and annotate.

Each stage is run by one process and by two in turn, as torchrun starts them. What is timed is the command itself,
without the seconds in which Python imports torch. On a busy machine the clock says little, so the seconds of the
processor stand beside it: those of one process, over those of the busier of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import print_machine, print_table

MODEL = ("--model", "runs/transfer/model")
BOXES = ("boxes.json", "--images", "data/shapes/train")
FIT = ("fit-transfer", "--embedding", "cls", "--name", "{name}")
STAGES = {
    "fit-transfer": FIT,
    "fit-transfer, 12 steps of the default size": (
        *FIT, "--head-width", "256", "--rois-per-batch", "128", "--iterations", "12"
    ),
    "evaluate, from the images": ("evaluate", *MODEL, "--from", "images", "--overwrite"),
    "evaluate, from the cache": ("evaluate", *MODEL, "--from", "cache", "--overwrite"),
    "predict": ("predict", *MODEL, "--out", "{name}"),
    "annotate": ("annotate", *BOXES, *MODEL, "--out", "{name}.json"),
}  # fmt: skip

PROGRAM = """
import json, sys, time
import torch
from maskx_pipeline import api, commands
from maskx_pipeline.commands import annotate, evaluate, fit_transfer, predict
from maskx_pipeline.stages import annotate, evaluate, fit_transfer, predict
from maskx_pipeline.engine import distributed

torch.set_num_threads(1)
distributed.start()
distributed.barrier()
clock, processor = time.perf_counter(), time.process_time()
code = commands.run(sys.argv[1:])
print(json.dumps([time.perf_counter() - clock, time.process_time() - processor, code]), file=sys.stderr)
"""

SETTINGS = """
[detect]
backbone = "resnet18"
backbone-weights = "none"
min-size = 256
max-size = 256
iterations = 2
images-per-batch = 2
warmup-iterations = 1
steps = [2]
score-threshold = 0.0
detections-per-image = 20
workers = 0

[export-embeddings]
rois-per-object = 1
workers = 0

[fit-transfer]
epochs = {epochs}
eval-every = 0
components = 4
rois-per-batch = 32
head-width = 64
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60, help="of train and of val")
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3, help="times of each; the least of each counts")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=[*STAGES], help="these stages")
    arguments = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        _make(project, images=arguments.images, epochs=arguments.epochs)
        rows = []
        for stage in arguments.only:
            words, slug = STAGES[stage], stage.replace(",", "").replace(" ", "-")
            found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
            for number in range(arguments.repeats):
                for processes in found:
                    name = f"{slug}-{processes}-{number}"
                    found[processes].append(_run(project, [word.format(name=name) for word in words], processes))
            (clock, processor), (clock_2, processor_2) = (map(min, zip(*of, strict=True)) for of in found.values())
            rows.append(
                [stage, f"{clock:.1f}", f"{clock_2:.1f}", f"{clock / clock_2:.2f}", f"{processor / processor_2:.2f}"]
            )
    print_table(["stage", "one process, s", "two, s", "ratio", "by processor seconds"], rows)


def _make(project: Path, *, images: int, epochs: float) -> None:
    count = ("--shapes-train-count", str(images), "--shapes-val-count", str(images), "--shapes-image-size", "256")
    _run(project, ["init", "--shapes", *count], 1)
    toml = (project / "maskx.toml").read_text(encoding="utf-8")
    settings = toml[: toml.index("[detect]")] + SETTINGS.format(epochs=epochs)
    (project / "maskx.toml").write_text(settings, encoding="utf-8")
    for stage in ("detect train", "export-embeddings", "fit-transfer --embedding cls --epochs 1 --name model"):
        _run(project, stage.split(), 1)
    content = json.loads((project / "data/shapes/train.json").read_text(encoding="utf-8"))
    for entry in content["annotations"]:
        entry["segmentation"] = []
    (project / "boxes.json").write_text(json.dumps(content), encoding="utf-8")


def _run(project: Path, words: list[str], processes: int) -> tuple[float, float]:
    """Seconds of the clock, and of the processor in the process that needed most."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    checkout = str(Path(__file__).parents[1])
    common = {
        **os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=project,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    said = [process.communicate()[1] for process in started]
    try:
        found = [json.loads(text.splitlines()[-1]) for text in said]
    except (ValueError, IndexError):
        raise SystemExit("\n".join(said)) from None
    if any(code for _, _, code in found):
        raise SystemExit("\n".join(said))
    return max(clock for clock, _, _ in found), max(processor for _, processor, _ in found)


if __name__ == "__main__":
    main()
