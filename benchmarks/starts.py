"""Seconds from typing a command to its end, where there is nothing left to do: what a person waits for imports.

    python benchmarks/starts.py [--against OTHER_CHECKOUT] [--repeats N] [--cpu]

A tiny project is made in a temporary folder and every stage is run once; then each command is given again. With
--against, the same commands of another checkout are run in turns with these, in a project that it made itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import print_table

SETTINGS = {
    "MASKX_SHAPES_TRAIN_COUNT": "24",
    "MASKX_SHAPES_VAL_COUNT": "8",
    "MASKX_DETECT_ITERATIONS": "2",
    "MASKX_DETECT_STEPS": "1",
    "MASKX_DETECT_WARMUP_ITERATIONS": "0",
    "MASKX_FIT_TRANSFER_EPOCHS": "1",
    "MASKX_FIT_TRANSFER_HEAD_WIDTH": "8",
    "MASKX_DETECT_DEVICE": "cpu",
}
ONCE = (
    ("init", "--shapes"),
    ("detect", "train"),
    ("export-embeddings",),
    ("fit-transfer",),
    ("evaluate",),
)
COMMANDS = (
    ("--help",),
    ("compare", "runs/transfer/cls-rbf+xy+boxes"),
    ("compare", "runs/transfer/nothing"),
    ("doctor",),
    ("report", "runs/transfer/cls-rbf+xy+boxes", "--images", "0", "--overwrite"),
    ("detect", "train"),
    ("export-embeddings",),
    ("fit-transfer",),
    ("fit-transfer", "--cache", "nothing.h5"),
    ("evaluate", "--from", "cache"),
    ("annotate", "data/val.json", "--images", "data/val", "--model", "nothing"),
    ("evaluate", "--model", "nothing"),
    ("predict", "--model", "nothing"),
    ("export-model", "--model", "nothing"),
    ("export-embeddings", "--detector", "nothing"),
    ("e2e", "--init", "nothing"),
    ("detect", "train", "--iterations", "many"),
    ("run",),
)


def run(checkout: Path, folder: Path, command: tuple[str, ...], *, cpu: bool = False) -> float:
    """Seconds of one command, of the clock or of the processor."""
    environment = {**os.environ, **SETTINGS, "PYTHONPATH": str(checkout)}
    began, used = time.perf_counter(), _processor_seconds()
    subprocess.run(
        [sys.executable, str(checkout / "cli.py"), *command], cwd=folder, env=environment, capture_output=True
    )
    return _processor_seconds() - used if cpu else time.perf_counter() - began


def _processor_seconds() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor, for a machine that is busy")
    options = parser.parse_args()
    checkouts = [Path(__file__).parents[1], *([options.against.resolve()] if options.against else [])]
    with tempfile.TemporaryDirectory() as folder:
        projects = [Path(folder) / str(number) for number in range(len(checkouts))]
        for checkout, project in zip(checkouts, projects, strict=True):
            project.mkdir()
            for command in ONCE:
                run(checkout, project, command)
            if not (project / "runs/transfer/cls-rbf+xy+boxes/evaluation").is_dir():
                raise SystemExit(f"{checkout}: the project could not be made")
        rows = []
        for command in COMMANDS:
            seconds: list[list[float]] = [[] for _ in checkouts]
            for _ in range(options.repeats):
                for times, checkout, project in zip(seconds, checkouts, projects, strict=True):
                    times.append(run(checkout, project, command, cpu=options.cpu))
            medians = [statistics.median(times) for times in seconds]
            ratio = [f"{medians[1] / medians[0]:.1f}x"] if options.against else []
            rows.append([f"`maskx {' '.join(command)}`", *(f"{median:.2f}" for median in medians), *ratio])
    print_table(["command", "seconds", *(["of the other checkout", "ratio"] if options.against else [])], rows)


if __name__ == "__main__":
    main()
