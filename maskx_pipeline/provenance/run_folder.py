"""What lies in a run folder: the run that goes on there, or none, so that a new one may begin."""

from __future__ import annotations

import contextlib
import datetime
import logging
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from maskx_pipeline import __version__
from maskx_pipeline.errors import RunError, listed
from maskx_pipeline.provenance.file_lists import RUN_FILE as RUN_FILE
from maskx_pipeline.provenance.files import is_temporary, make_folder, write_json
from maskx_pipeline.provenance.lock import lock_folder, unlock_folder
from maskx_pipeline.provenance.longer import Longer, prolonged
from maskx_pipeline.provenance.made_from import differences, text_of
from maskx_pipeline.provenance.seals import read_json_file, reason_of

logger = logging.getLogger("maskx")

SCHEMA = 1

REMOVED = "removed"
"""The status of a run whose removal has begun."""

_NAMES = (
    RUN_FILE, "metrics.jsonl", "state.pt", "best.safetensors", "last.safetensors", "*.tfevents.*", "results.json",
    "results_bbox.json", "box-iou.json", "hidden.json", "ap-*.json", "filled-box.json", "ellipse-in-the-box.json",
)  # fmt: skip

RunState = Literal["new", "resume", "finished"]

_COMMANDS = {"detect": "detect train"}


def command_of(stage: str) -> str:
    """The command of a stage, without `maskx`."""
    return _COMMANDS.get(stage, stage)


def read_run(folder: Path, *, stage: str | None = None, removed: bool = False) -> dict[str, Any]:
    """The content of run.json.

    Args:
        stage: The stage that must have written it; any if None.
        removed: Also of a run whose removal was begun.

    Raises:
        RunError: There is no run, run.json cannot be read, it is of another stage, or its removal was begun.
    """
    path = folder / RUN_FILE
    hint = "give the folder of a run, such as runs/transfer/NAME"
    if stage is not None:
        hint = f"run `maskx {command_of(stage)}` first, or give the folder of its run"
    if not path.is_file():
        raise RunError(f"{folder} holds no run ({RUN_FILE} is missing).", hint)
    try:
        content = read_json_file(path)
        schema, found = content["schema"], content["stage"]
        parts = [content[name] for name in ("identity", "inputs", "config")]
        if not isinstance(found, str) or not isinstance(content["status"], str):
            raise TypeError("stage and status are no texts")
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError("identity, inputs and config are no objects")
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} cannot be read: {reason_of(error)}.",
            "put back a copy of it, or remove the folder and run the stage again",
        ) from error
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}; this version of maskx reads {SCHEMA}.",
            "run the stage again, or use the version of maskx that wrote it",
        )
    if stage is not None and found != stage:
        raise RunError(f"{folder} holds a run of `maskx {command_of(found)}`, not of `maskx {stage}`.", hint)
    if content["status"] == REMOVED and not removed:
        raise RunError(
            f"{folder} is not whole: its removal was interrupted.",
            f"run `maskx {command_of(found)}` again, or remove it",
        )
    return dict(content)


def find_or_begin(
    folder: Path,
    stage: str,
    wanted: dict[str, Any],
    config: dict[str, Any],
    command: str,
    overwrite: bool,
    longer: Longer | None = None,
) -> tuple[RunState, dict[str, Any]]:
    """Find the run of a folder or begin one, and lock the folder unless the run is finished.

    Args:
        wanted: The ``identity`` and ``inputs`` that the run must have, as plain JSON values.
        longer: How the run that is there may differ, as a training that is to go on for longer.

    Returns:
        The state, and the content of run.json.

    Raises:
        RunError: The folder holds something else, or another process writes there.
    """
    found = None if overwrite else _find(folder, stage, wanted, config, longer)
    if found is not None and found["status"] == "finished":
        with contextlib.suppress(RunError, OSError):  # what a killed process left half written, if nobody writes there
            lock_folder(folder)
            unlock_folder(folder)
        return "finished", found
    make_folder(folder)
    lock_folder(folder)
    try:
        if not overwrite:  # again: the process that had it locked may have finished it
            found = _find(folder, stage, wanted, config, longer)
        if found is None:
            _remove(folder)
            return "new", _begin(folder, stage, wanted, config, command)
        if found["identity"] != read_run(folder)["identity"]:
            write_json(folder / RUN_FILE, found)
    except BaseException:
        unlock_folder(folder)
        raise
    if found["status"] == "finished":
        unlock_folder(folder)
        return "finished", found
    return "resume", found


def _find(
    folder: Path, stage: str, wanted: dict[str, Any], config: dict[str, Any], longer: Longer | None
) -> dict[str, Any] | None:
    """The run that is there and goes on, as it then is; None where a new one may begin."""
    present = _content(folder)
    if not present:
        return None
    content = read_run(folder, removed=True)
    if content["status"] == REMOVED:
        return None
    found = differences({"stage": content["stage"]}, {"stage": stage})
    found += [line for part in ("identity", "inputs") for line in differences(content[part], wanted[part])]
    if not found:
        return content
    if content["stage"] == stage and _holds_nothing(content, present):
        return None
    if longer is not None and content["stage"] == stage:
        goes_on = prolonged(folder, content, wanted, config, longer)
        if goes_on is not None:
            return goes_on
    raise RunError(
        text_of(f"{folder} holds a run that differs", found),
        "give --overwrite to replace it, or another folder with --out or --name",
    )


def _content(folder: Path) -> list[Path]:
    """What lies in a run folder, or in one that may become one."""
    present = [path for path in folder.iterdir() if not is_temporary(path)] if folder.is_dir() else []
    if present and not (folder / RUN_FILE).is_file():
        raise RunError(
            f"{folder} holds files but no run ({RUN_FILE} is missing), so nothing is written there.",
            "choose another folder with --out",
        )
    return present


def _begin(folder: Path, stage: str, wanted: dict[str, Any], config: dict[str, Any], command: str) -> dict[str, Any]:
    content = {
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
        "started": now(),
        "finished": None,
        "seconds": 0.0,
        "results": {},
    }
    write_json(folder / RUN_FILE, content)
    return content


def _holds_nothing(content: dict[str, Any], present: list[Path]) -> bool:
    """Whether a run ended before its first result, say at a wrong setting; the corrected one may take its place."""
    return content["status"] == "running" and all(
        path.name == RUN_FILE or (path.is_file() and path.stat().st_size == 0) for path in present
    )


def _remove(folder: Path) -> None:
    """Remove what an earlier run left, unless it holds a run, such as an evaluation, that another process writes.

    Files that no run writes stay.
    """
    present = _content(folder)
    if not present:
        return
    with contextlib.ExitStack() as locks:
        inner = [path.parent for path in folder.glob(f"*/**/{RUN_FILE}")]
        for run in inner:
            lock_folder(run)
            locks.callback(unlock_folder, run)
        # Marked first: interrupted from here on, nobody takes it for whole, and the next start goes on removing.
        for run in (folder, *inner):
            write_json(run / RUN_FILE, {**_readable(run), "status": REMOVED})
        for path in list(folder.rglob("*")):
            if not path.is_dir() and is_of_run(path) and path != folder / RUN_FILE:
                path.unlink()
    for path in sorted(filter(Path.is_dir, folder.rglob("*")), key=lambda item: len(item.parts), reverse=True):
        with contextlib.suppress(OSError):  # it is not empty, or a link
            path.rmdir()
    if others := [path.relative_to(folder).as_posix() for path in _content(folder) if path.name != RUN_FILE]:
        logger.warning("%s: left as it is, since no run of maskx writes it: %s.", folder, listed(others, 3))


def is_of_run(path: Path) -> bool:
    """Whether a file of a run folder has a name that a stage gives."""
    return any(path.match(pattern) for pattern in _NAMES)


def _readable(folder: Path) -> dict[str, Any]:
    """What run.json says, or, where it is broken, what it takes to be one."""
    try:
        return read_run(folder, removed=True)
    except RunError:
        return {"schema": SCHEMA, "stage": "", "identity": {}, "inputs": {}, "config": {}}


def now() -> str:
    """The time of day in UTC, as run.json has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
