"""Run by test_kills.py with the library of write_log.py: a command is killed at calls that change a file.

After each kill the same command is given again, and must end with the files of one that was never killed. And when a
command has ended, all that it wrote must be on the disk.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import write_log
from power_cut import Disk, read_tree
from tiny_project import SAVED, shapes_of, write_settings

from maskx_pipeline.commands import run

SETTINGS = {
    "detect": SAVED | {"lr": 0.01, "warmup-iterations": 4, "steps": [5]},
    "export-embeddings": {"rois-per-object": 1, "flush-every": 3, "workers": 0},
    "fit-transfer": {
        "head-width": 8, "head-depth": 1, "components": 4, "epochs": 1.0, "rois-per-batch": 8, "checkpoint-every": 2,
    },
    "e2e": {"iterations": 4, "images-per-batch": 2, "checkpoint-every": 2, "workers": 0},
}  # fmt: skip

_TEACHER = """
import numpy as np


class Halves:
    identity = "left halves"

    def masks(self, image, boxes):
        found = np.zeros((len(boxes), *image.shape[:2]), dtype=bool)
        for mask, (x1, y1, x2, y2) in zip(found, np.asarray(boxes, dtype=int)):
            mask[y1:y2, x1 : max(x1 + 1, (x1 + x2) // 2)] = True
        return found
"""
STAGES: dict[str, tuple[str, ...]] = {
    "init": ("init", *shapes_of(train=8, val=4)),
    "detect train": ("detect", "train"),
    "export-embeddings": ("export-embeddings",),
    "fit-transfer": ("fit-transfer", "--embedding", "cls"),
    "evaluate": ("evaluate", "--split", "unseen"),
    "e2e": ("e2e",),
    "predict": ("predict", "data/shapes/val", "--limit", "3", "--out", "seen"),
    "annotate": ("annotate", "data/shapes/train.json", "--review", "review", "--second-opinion", "teacher.py:Halves"),
    "convert teacher": ("convert", "teacher", "teacher.py:Halves", "--out", "taught/train.json"),
    "export-model": ("export-model", "--model", "runs/transfer/cls-rbf+xy+boxes", "--format", "onnx"),
    "report": ("report", "runs/transfer/cls-rbf+xy+boxes"),
    "contact-sheet": (
        "contact-sheet",
        "--model",
        "runs/transfer/cls-rbf+xy+boxes",
        "--out",
        "sheet.png",
        "--limit",
        "2",
    ),
}
"""A command for each stage, in an order in which each has what it needs."""


def child(work: Path, command: tuple[str, ...], *, deadline: int = 0) -> tuple[int, str]:
    """Run a command in a forked process; its exit code (-9 if it was killed), and what it said."""
    said = work.parent / "said.txt"
    process = os.fork()
    if process == 0:
        code = 70
        try:
            descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.chdir(work)
            log = os.open(work.parent / "log.bin", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            write_log.begin(work, log=log, deadline=deadline)
            code = run(list(command))
            (work.parent / "calls.txt").write_text(str(write_log.end()))
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


_OF_THIS_RUN = ("started", "finished", "seconds", "command")  # and so the seal of what holds them


def content(work: Path) -> dict[str, Any]:
    """All files but for times and how the command was written."""
    found: dict[str, Any] = {}
    for path in sorted(work.rglob("*")):
        name = path.relative_to(work).as_posix()
        if path.is_dir() or path.suffix == ".h5":  # which has free room that nobody writes
            continue
        if path.name == "run.json":
            values = json.loads(path.read_text())
            found[name] = {k: v for k, v in values.items() if k not in (*_OF_THIS_RUN, "seal")}
        elif path.suffix == ".json":
            values = json.loads(path.read_text())
            found[name] = {**values, "replaced": None, "seal": None} if isinstance(values, dict) else values
        else:
            found[name] = path.read_bytes()
    return found


def put(source: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work, symlinks=True)


def kill(folder: Path, name: str, kills: int) -> dict[str, Any]:
    """Kill a stage so often (0: at every call), and say what went wrong."""
    before, work, command = folder / "before", folder / "work", STAGES[name]
    put(work, before)
    disk = Disk(work, *read_tree(work))
    code, said = child(work, command)
    if code:
        raise SystemExit(f"{name}: {code}: {said}")
    for call in write_log.read_log((folder / "log.bin").read_bytes()):
        disk.call(call)
    synced, found = disk.tree(lambda _: False, lambda _: False), read_tree(work)[0]
    shown = [path for path in found.keys() | synced.keys() if not Path(path).name.startswith(".")]
    unsynced = sorted(path for path in shown if found.get(path, 0) != synced.get(path, 0))
    whole, calls = content(work), int((folder / "calls.txt").read_text())
    every = range(1, calls + 1)
    counts: Counter[str] = Counter(calls=calls)
    counts["lost"] += len(unsynced)
    first = f"{name}: not on the disk: {unsynced[:5]}" if unsynced else ""
    for deadline in every if kills == 0 else sorted(random.Random(name).sample(every, min(kills, calls))):
        put(before, work)
        code, said = child(work, command, deadline=deadline)
        counts["killed"] += code == -9
        code, said = child(work, command)
        again = code == 1 and "exists" in said and "not written by" not in said
        if again:
            counts["asked for --overwrite"] += 1
            code, said = child(work, (*command, "--overwrite"))
        found = content(work)
        differ = [key for key in whole.keys() | found.keys() if whole.get(key) != found.get(key)]
        if again:
            differ = [key for key in differ if not key.endswith(".html")]  # it names the command
        if code or differ:
            counts["lost"] += 1
            first = first or f"{name}, killed at {deadline}: {code}, {sorted(differ)[:5]}, {said[-800:]}"
    return {**+counts, "first": first}


def main(folder: Path, kills: int, *names: str) -> None:
    torch.set_num_threads(1)
    os.environ["XDG_CACHE_HOME"] = str(folder / "user")
    work = folder / "work"
    work.mkdir()
    results: dict[str, Any] = {}
    for name, command in STAGES.items():
        if not names or name in names:
            results[name] = kill(folder, name, kills)
            sys.stderr.write(f"{name}: {results[name]}\n")
        else:
            code, said = child(work, command)
            if code:
                raise SystemExit(f"{name}: {code}: {said}")
        if name == "init":
            write_settings(work, SETTINGS)
            (work / "teacher.py").write_text(_TEACHER)
        if names and name == names[-1]:
            break
    sys.stdout.write(json.dumps(results) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
