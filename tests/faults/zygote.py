"""A process that has imported everything and forks a `maskx` for each line that it reads, which saves their imports.

A line is JSON: `start` (the words after maskx), `folder`, `limits` (names of RLIMIT to numbers), `out` (a file for what
it prints); it answers with the process's id. With `environment`, `start` is what would follow the word python. Or
`wait`, such an id: it answers with the exit code, minus the signal where one killed it, or null after `seconds`.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    os.setpgrp()
    import_all()
    print(flush=True)  # noqa: T201
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = wait(request["wait"], request["seconds"])
        else:
            answer = os.fork()
            if not answer:
                return become(request)
        print(json.dumps(answer), flush=True)  # noqa: T201
    return None


def import_all() -> None:
    import torch

    import maskx_pipeline.annotate.fill_file
    import maskx_pipeline.annotate.fill_journal
    import maskx_pipeline.detection.load
    import maskx_pipeline.detection.train
    import maskx_pipeline.evaluation.detector_ap
    import maskx_pipeline.stages.annotate
    import maskx_pipeline.stages.detect_train
    import maskx_pipeline.stages.e2e
    import maskx_pipeline.stages.evaluate
    import maskx_pipeline.stages.export_embeddings
    import maskx_pipeline.stages.fit_transfer
    import maskx_pipeline.stages.predict
    import maskx_pipeline.stages.report
    import maskx_pipeline.stages.tune  # noqa: F401

    torch.set_num_threads(1)


def become(request: dict[str, Any]) -> None:
    """In the child: be the command; what follows is the end of any Python program."""
    os.chdir(request["folder"])
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, place in ((null, 0), (out, 1), (out, 2)):
        os.dup2(descriptor, place)
    os.closerange(3, 256)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, most in request["limits"].items():
        number = getattr(resource, name)
        resource.setrlimit(number, (most, resource.getrlimit(number)[1]))
    if "environment" in request:
        be_python(request["start"], request["environment"])
        return
    sys.argv = ["maskx", *request["start"]]
    from maskx_pipeline.commands import main

    main()


def be_python(words: list[str], environment: dict[str, str]) -> None:
    """Run a file, or the text after -c, as the main program."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def wait(process: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


if __name__ == "__main__":
    main()
