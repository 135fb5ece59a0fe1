"""A run: the folder that one stage writes, and how a stage knows whether to start, to resume or to do nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.tensorboard import PATTERN, EventFile, check_installed
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.file_lists import digests_of, files_of_run
from maskx_pipeline.provenance.files import append_text, json_value, sync_file, write_bytes, write_json
from maskx_pipeline.provenance.lock import unlock_folder
from maskx_pipeline.provenance.longer import Longer, what_changes
from maskx_pipeline.provenance.run_folder import RUN_FILE, RunState, command_of, find_or_begin, now
from maskx_pipeline.provenance.seals import line_of, value_of

logger = logging.getLogger("maskx")

METRICS_FILE = "metrics.jsonl"
STATE_FILE = "state.pt"
BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"

LONGER_ITERATIONS = Longer("iterations", ("steps", "warmup_iterations", "eval_every"), STATE_FILE)
LONGER_FIT = Longer("epochs", ("iterations", "lr_drops", "warmup_iterations", "eval_every"), STATE_FILE)
"""How a training on images, and one on the RoI cache, may be asked for again to go on from its last state.

The length of the second is given in epochs or in iterations, so its stage adds what that is in steps.
"""


class Run(contextlib.AbstractContextManager["Run"]):
    """An open run folder. Only the main process writes; the others call the same methods without effect.

    Until it is finished or closed, no other process can open it to write. As a context manager it is closed at the end.

    Args:
        folder: The run folder; it exists and holds run.json.
        state: Whether the stage starts, continues, or has nothing left to do.
        content: The content of run.json.
        tensorboard: Also write what goes into metrics.jsonl for TensorBoard.
    """

    def __init__(self, folder: Path, *, state: RunState, content: dict[str, Any], tensorboard: bool = False) -> None:
        self.folder = folder
        self._events = EventFile(folder) if tensorboard and distributed.is_main() else None
        self.state: RunState = state
        self.content = content
        self._opened = time.monotonic()
        self._seconds_before = float(content.get("seconds", 0.0))

    def is_finished(self) -> bool:
        """Whether nothing is left to do, and say so."""
        if self.state == "finished":
            logger.info("%s is finished and unchanged.", self.folder)
        return self.state == "finished"

    def log(self, step: int, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        if distributed.is_main():
            line = json_value({"step": step, **values})
            append_text(self.folder / METRICS_FILE, line_of(line))
            if self._events is not None:
                self._events.add(line)

    def sync(self) -> None:
        """Bring the lines of metrics.jsonl to the disk: before a state that counts on them is saved."""
        path = self.folder / METRICS_FILE
        if distributed.is_main() and path.exists():
            sync_file(path)

    def rewind(self, step: int) -> None:
        """Drop the lines of metrics.jsonl of a later step, those cut off, and, with a warning, damaged ones."""
        path = self.folder / METRICS_FILE
        if not distributed.is_main() or not path.exists():
            return
        kept = _sound_lines(path, step)
        write_bytes(path, b"".join(kept))
        if self._events is not None:
            self._events.begin(map(value_of, kept))

    def write_missing_events(self) -> None:
        """For a finished run that was asked for TensorBoard's file only now, or not at its last start."""
        path = self.folder / METRICS_FILE
        if self._events is None or not path.exists():
            return
        written = path.stat().st_mtime_ns
        if all(events.stat().st_mtime_ns < written for events in self.folder.glob(PATTERN)):
            self._events.begin(map(value_of, _sound_lines(path, math.inf)))
            self._events.close()

    def update(self, **values: Any) -> None:
        """Put values into run.json."""
        self.content.update(values)
        self.content["seconds"] = round(self._seconds_before + time.monotonic() - self._opened, 3)
        if distributed.is_main():
            write_json(self.folder / RUN_FILE, self.content)

    def finish(self, **results: Any) -> None:
        """Mark the run as finished, with its results; its state stays, for a longer training to go on from."""
        files: dict[str, str] = {}
        if distributed.is_main():
            self.sync()
            written = (p for p in files_of_run(self.folder) if p.name != STATE_FILE and not p.match(PATTERN))
            files = digests_of(self.folder, written)
        self.update(status="finished", finished=now(), results=results, files=files)
        self.state = "finished"
        self.close()

    def close(self) -> None:
        """Let other processes open the run; one that is not finished is resumed by the next that does."""
        if self._events is not None:
            self._events.close()
        unlock_folder(self.folder)

    def __exit__(self, *error: object) -> None:
        self.close()


def open_run(
    folder: Path,
    *,
    stage: str,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    command: str = "",
    overwrite: bool = False,
    tensorboard: bool = False,
    longer: Longer | None = None,
) -> Run:
    """Open or create the run folder of a stage, and keep other processes from writing there until it is closed.

    A finished run is not kept from others: it is only read.

    Args:
        inputs: What the stage reads, by name: digests or other short texts that change when the input does.
        tensorboard: Also write what goes into metrics.jsonl for TensorBoard.
        longer: How the run that is there may differ, and goes on.

    Returns:
        The run; its ``state`` is "new", "resume" (interrupted, same settings and inputs) or "finished".

    Raises:
        RunError: The folder holds a run of other settings or inputs, of another stage, or something that is no run;
            or another process writes there.
        MachineError: TensorBoard is asked for and not installed.
    """
    if tensorboard:
        check_installed()
    wanted = _plain({"identity": identity, "inputs": inputs})
    state, content = distributed.on_main(
        lambda: find_or_begin(folder, stage, wanted, _plain(config), command, overwrite, longer)
    )
    run = Run(folder, state=state, content=content, tensorboard=tensorboard)
    if state == "finished":
        run.write_missing_events()
    elif content.get("prolonged"):
        logger.info("%s goes on for longer than before: %s.", folder, "; ".join(what_changes(content)))
    return run


def weights_file(folder: Path, checkpoint: str, *, stage: str) -> Path:
    """The weights of a run: ``best`` or ``last``; without a best one the last one, and that is logged.

    Raises:
        RunError: The run has none yet.
    """
    path = folder / (LAST_FILE if checkpoint == "last" else BEST_FILE)
    last = folder / LAST_FILE
    if not path.is_file() and last.is_file():
        logger.warning("%s has no %s; taking %s.", folder, BEST_FILE, LAST_FILE)
        path = last
    if not path.is_file():
        raise RunError(
            f"{folder} holds no weights yet ({path.name}).",
            f"run `maskx {command_of(stage)}`; it continues where it stopped",
        )
    return path


def _sound_lines(path: Path, last_step: float) -> list[bytes]:
    """The lines up to a step; of those that are damaged it is said that they are dropped."""
    lines = path.read_bytes().splitlines(keepends=True)
    return [line for number, line in enumerate(lines, start=1) if _step_of(line, number, path) <= last_step]


def _step_of(line: bytes, number: int, path: Path) -> float:
    try:
        return float(value_of(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        if line.endswith(b"\n"):
            logger.warning("%s: line %d is dropped: %s.", path, number, error)
        return math.nan  # not up to any step


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(values, default=str)))
