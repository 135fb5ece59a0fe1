"""Opens a run, and a forked process with it, until it is killed: python hold_run.py FOLDER."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from maskx_pipeline.engine.runlog import open_run

if __name__ == "__main__":
    run = open_run(Path(sys.argv[1]), stage="detect", identity={}, config={}, inputs={})
    run.log(1, loss=2.0)
    if os.fork() == 0:  # it says so itself: by then it has let go of what it has from its parent
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
    signal.pause()
