"""What the injections share: a tiny project with each kind of result, and a quick way to run commands on copies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_PROGRAM = Path(__file__).with_name("zygote.py")


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
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._folder.cleanup()

    def start(self, project: Path, *arguments: str, **limits: int) -> Started:
        """Start a command in a project's folder; ``limits`` are names of RLIMIT."""
        self._count += 1
        out = Path(self._folder.name) / f"{self._count}.txt"
        request = {"start": arguments, "folder": str(project), "limits": limits, "out": str(out)}
        return Started(self.ask(request), out, self)

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
