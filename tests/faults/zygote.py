"""A process that has imported everything and forks a `maskx` for each line that it reads, which saves their imports.

A line is JSON: `start` (the words after maskx), `folder`, `limits` (names of RLIMIT to numbers), `out` (a file for what
it prints); it answers with the process's id. Or `wait`, such an id: it answers with the exit code, minus the signal
where one killed it, or null after `seconds`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
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
    sys.argv = ["maskx", *request["start"]]
    from maskx_pipeline.commands import main

    main()


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
