"""A run: the folder that one stage writes, and how a stage knows whether to start, to resume or to do nothing."""

from __future__ import annotations

import datetime
import json
import logging
import platform
import shutil
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from maskx_pipeline import __version__
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.files import atomic_path, is_temporary, json_value, write_json
from maskx_pipeline.engine.tensorboard import PATTERN, EventFile, check_installed
from maskx_pipeline.errors import RunError

logger = logging.getLogger("maskx")

SCHEMA = 1
RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
STATE_FILE = "state.pt"
BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"

RunState = Literal["new", "resume", "finished"]


class Run:
    """An open run folder. Only the main process writes; the others call the same methods without effect.

    Args:
        folder: The run folder; it exists and holds run.json.
        state: Whether the stage starts, continues, or has nothing left to do.
        record: The content of run.json.
        tensorboard: Also write what goes into metrics.jsonl for TensorBoard.
    """

    def __init__(self, folder: Path, *, state: RunState, record: dict[str, Any], tensorboard: bool = False) -> None:
        self.folder = folder
        self._events = EventFile(folder) if tensorboard and distributed.is_main() else None
        self.state: RunState = state
        self.record = record
        self._opened = time.monotonic()
        self._seconds_before = float(record.get("seconds", 0.0))

    def log(self, step: int, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        if distributed.is_main():
            line = json_value({"step": step, **values})
            with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            if self._events is not None:
                self._events.add(line)

    def rewind(self, step: int) -> None:
        """Drop the lines of metrics.jsonl that are of a later step, and a last line that was cut off."""
        path = self.folder / METRICS_FILE
        if not distributed.is_main() or not path.exists():
            return
        with path.open(encoding="utf-8") as stream, atomic_path(path) as temporary:
            kept = [line for line in stream if _step_of(line) <= step]
            temporary.write_text("".join(kept), encoding="utf-8")
        if self._events is not None:
            self._events.begin(map(json.loads, kept))

    def write_missing_events(self) -> None:
        """For a finished run that was asked for TensorBoard's file only now, or not at its last start."""
        path = self.folder / METRICS_FILE
        if self._events is None or not path.exists():
            return
        written = path.stat().st_mtime_ns
        if all(events.stat().st_mtime_ns < written for events in self.folder.glob(PATTERN)):
            with path.open(encoding="utf-8") as stream:
                self._events.begin(map(json.loads, stream))
            self._events.close()

    def update(self, **values: Any) -> None:
        """Put values into run.json."""
        self.record.update(values)
        self.record["seconds"] = round(self._seconds_before + time.monotonic() - self._opened, 3)
        if distributed.is_main():
            write_json(self.folder / RUN_FILE, self.record)

    def finish(self, **results: Any) -> None:
        """Mark the run as finished, with its results; the resumable state is no longer needed and removed."""
        self.update(status="finished", finished=_now(), results=results)
        self.state = "finished"
        if distributed.is_main():
            (self.folder / STATE_FILE).unlink(missing_ok=True)
        if self._events is not None:
            self._events.close()


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
) -> Run:
    """Open or create the run folder of a stage.

    Args:
        folder: The run folder.
        stage: The name of the stage, as in the command.
        identity: The settings that decide the result.
        config: All settings, for the record.
        inputs: What the stage reads, by name: digests or other short texts that change when the input does.
        command: The command line, for the record.
        overwrite: Remove what an earlier run left here.
        tensorboard: Also write what goes into metrics.jsonl for TensorBoard.

    Returns:
        The run; its ``state`` is "new", "resume" (interrupted, same settings and inputs) or "finished".

    Raises:
        RunError: The folder holds a run of other settings or inputs, of another stage, or something that is no run.
        MachineError: TensorBoard is asked for and not installed.
    """
    if tensorboard:
        check_installed()
    wanted = _plain({"identity": identity, "inputs": inputs})
    state, record = distributed.on_main(lambda: _open(folder, stage, wanted, _plain(config), command, overwrite))
    run = Run(folder, state=state, record=record, tensorboard=tensorboard)
    if state == "finished":
        run.write_missing_events()
    return run


def read_run(folder: Path, *, stage: str | None = None) -> dict[str, Any]:
    """The content of run.json.

    Args:
        folder: The run folder.
        stage: The stage that must have written it; any if None.

    Raises:
        RunError: There is no run, run.json cannot be read, or it is of another stage.
    """
    path = folder / RUN_FILE
    hint = "give the folder of a run, such as runs/transfer/NAME"
    if stage is not None:
        hint = f"run `maskx {_COMMANDS.get(stage, stage)}` first, or give the folder of its run"
    if not path.is_file():
        raise RunError(f"{folder} holds no run ({RUN_FILE} is missing).", hint)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema, found = record["schema"], record["stage"]
        _ = record["status"], record["identity"], record["inputs"], record["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error!r}", "remove the folder and run the stage again") from error
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}; this version of maskx reads {SCHEMA}.",
            "run the stage again, or use the version of maskx that wrote it",
        )
    if stage is not None and found != stage:
        raise RunError(f"{folder} holds a run of `maskx {_COMMANDS.get(found, found)}`, not of `maskx {stage}`.", hint)
    return dict(record)


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
            f"run `maskx {_COMMANDS.get(stage, stage)}`; it continues where it stopped",
        )
    return path


_COMMANDS = {"detect": "detect train"}
_SHOWN = 10  # differences of two runs that are named


def _open(
    folder: Path, stage: str, wanted: dict[str, Any], config: dict[str, Any], command: str, overwrite: bool
) -> tuple[RunState, dict[str, Any]]:
    present = [path for path in folder.iterdir() if not is_temporary(path)] if folder.is_dir() else []
    if present and not (folder / RUN_FILE).is_file():
        raise RunError(
            f"{folder} holds files but no run ({RUN_FILE} is missing), so nothing is written there.",
            "choose another folder with --out",
        )
    if present and overwrite:
        _remove(present)
    elif present:
        record = read_run(folder)
        differences = _differences(record, stage, wanted)
        if differences and record["stage"] == stage and _holds_nothing(record, present):
            _remove(present)
            return _open(folder, stage, wanted, config, command, overwrite)
        if differences:
            lines = [f"  {line}" for line in differences[:_SHOWN]]
            if len(differences) > _SHOWN:
                lines.append(f"  and {len(differences) - _SHOWN} more")
            raise RunError(
                "\n".join([f"{folder} holds a run that differs:", *lines]),
                "give --overwrite to replace it, or another folder with --out or --name",
            )
        return "finished" if record["status"] == "finished" else "resume", record
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "schema": SCHEMA,
        "stage": stage,
        "status": "running",
        "config": config,
        **wanted,
        "command": command,
        "versions": {
            "maskx": __version__,
            "torch": metadata.version("torch"),
            "torchvision": metadata.version("torchvision"),
            "python": platform.python_version(),
        },
        "started": _now(),
        "finished": None,
        "seconds": 0.0,
        "results": {},
    }
    write_json(folder / RUN_FILE, record)
    return "new", record


def _holds_nothing(record: dict[str, Any], present: list[Path]) -> bool:
    """Whether a run ended before its first result, say at a wrong setting; the corrected one may take its place."""
    return record["status"] == "running" and all(
        path.name == RUN_FILE or (path.is_file() and path.stat().st_size == 0) for path in present
    )


def _remove(paths: list[Path]) -> None:
    # run.json goes last: interrupted here, the folder is still known to be a run and --overwrite can be given again.
    for path in sorted(paths, key=lambda item: item.name == RUN_FILE):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _differences(record: dict[str, Any], stage: str, wanted: dict[str, Any]) -> list[str]:
    lines = [f"stage: {record['stage']} -> {stage}"] if record["stage"] != stage else []
    for part in ("identity", "inputs"):
        old, new = record[part], wanted[part]
        for key in sorted(old.keys() | new.keys()):
            if key not in old or key not in new or old[key] != new[key]:
                name = key.rstrip("_").replace("_", "-") if part == "identity" else key
                lines.append(f"{name}: {_show(old, key)} -> {_show(new, key)}")
    return lines


def _show(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "(none)"
    text = json.dumps(values[key], ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(values, default=str)))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
