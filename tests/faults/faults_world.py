"""What the injections share: a tiny project with each kind of result, and a quick way to run commands on a copy."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tiny_project import SAVED, shapes_of, write_settings

SETTINGS = {
    "detect": SAVED | {"warmup-iterations": 2, "steps": [4]},
    "export-embeddings": {"rois-per-object": 1, "workers": 0, "flush-every": 2},
    "fit-transfer": {
        "embedding": "cls", "head-width": 8, "head-depth": 1, "components": 4, "epochs": 2.0, "rois-per-batch": 8,
        "checkpoint-every": 2,
    },
    "e2e": {"iterations": 3, "images-per-batch": 2, "warmup-iterations": 1, "steps": [2], "workers": 0},
}  # fmt: skip

STAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "detect train": ((), ("runs/detector", "runs/cache.h5", "runs/transfer")),
    "export-embeddings": ((), ("runs/cache.h5", "runs/transfer")),
    "fit-transfer": ((), ("runs/transfer",)),
    "e2e": ((), ()),
    "evaluate": (("--split", "all"), ("runs/transfer/cls-rbf+xy+boxes/evaluation",)),
    "predict": (("data/shapes/val", "--score-threshold", "0"), ()),
    "annotate": (("data/shapes/train.json", "--out", "filled.json"), ()),
    "report": (("runs/transfer/cls-rbf+xy+boxes",), ()),
    "doctor": ((), ()),
    "tune": (("--jobs", "2"), ()),
}
"""Commands with their arguments, and what of the project is there no more when they begin."""

_PROGRAM = Path(__file__).with_name("zygote.py")


def make_project(folder: Path, zygote: Zygote) -> Path:
    """A project in which every stage is done."""
    done = zygote.run(folder, "init", *shapes_of(train=12, val=4))
    assert done.code == 0, done.said
    write_settings(folder, SETTINGS)
    for stage in ("detect train", "export-embeddings", "fit-transfer", "evaluate --split all"):
        done = zygote.run(folder, *stage.split(), seconds=300)
        assert done.code == 0, done.said
    return folder


def copy_for(stage: str, project: Path, folder: Path) -> tuple[str, ...]:
    """Copy the project to a folder, as it is before a stage; returns the words of its command."""
    arguments, missing = STAGES[stage]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project, folder)
    for name in missing:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return (*stage.split(), *arguments)


def files_of(folder: Path) -> dict[str, bytes]:
    """The files that are whole, by their own account: no hidden one, none that says that it is unfinished."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith((".partial", ".redo", ".jsonl"))
    }


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, minus the signal that killed it, None where it was still at work."""

    code: int | None
    said: str


@dataclass(frozen=True)
class Started:
    """A command at work."""

    process: int
    out: Path
    zygote: Zygote

    def wait(self, seconds: float = 60) -> Ended:
        """Its end; one that does not come is one by SIGKILL, and its code None."""
        code = self.zygote.ask({"wait": self.process, "seconds": seconds})
        if code is None:
            os.kill(self.process, signal.SIGKILL)
            self.zygote.ask({"wait": self.process, "seconds": 60})
        return Ended(code, self.out.read_text(encoding="utf-8", errors="replace"))


class Zygote(contextlib.AbstractContextManager["Zygote"]):
    """Starts commands in the time of a fork; see zygote.py."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="maskx-out-")
        self._count = 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": self._folder.name}
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.terminate()
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._folder.cleanup()

    def start(self, project: Path, *arguments: str, **limits: int) -> Started:
        """Start a command in a project's folder; ``limits`` are names of RLIMIT."""
        return self._start({"start": arguments, "folder": str(project), "limits": limits})

    def python(self, *words: object, environment: Mapping[str, str] | None = None) -> Started:
        """Start a program of Python: what would follow the word python, in this process's folder and its threads."""
        import torch

        common = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
        request = {"environment": {**common, **(environment or {})}, "folder": str(Path.cwd()), "limits": {}}
        return self._start({"start": [str(word) for word in words], **request})

    def _start(self, request: dict[str, Any]) -> Started:
        self._count += 1
        out = Path(self._folder.name) / f"{self._count}.txt"
        return Started(self.ask({**request, "out": str(out)}), out, self)

    def run(self, project: Path, *arguments: str, seconds: float = 60, **limits: int) -> Ended:
        """Run a command to its end."""
        return self.start(project, *arguments, **limits).wait(seconds)

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())
