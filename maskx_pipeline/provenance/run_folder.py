"""What lies in a run folder: the run that goes on there, or none, so that a new one may begin."""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from maskx_pipeline import __version__
from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.files import is_temporary, write_json
from maskx_pipeline.provenance.lock import lock_folder, unlock_folder
from maskx_pipeline.provenance.made_from import differences, text_of

SCHEMA = 1
RUN_FILE = "run.json"

RunState = Literal["new", "resume", "finished"]

_COMMANDS = {"detect": "detect train"}


def command_of(stage: str) -> str:
    """The command of a stage, without `maskx`."""
    return _COMMANDS.get(stage, stage)


def read_run(folder: Path, *, stage: str | None = None) -> dict[str, Any]:
    """The content of run.json.

    Args:
        stage: The stage that must have written it; any if None.

    Raises:
        RunError: There is no run, run.json cannot be read, or it is of another stage.
    """
    path = folder / RUN_FILE
    hint = "give the folder of a run, such as runs/transfer/NAME"
    if stage is not None:
        hint = f"run `maskx {command_of(stage)}` first, or give the folder of its run"
    if not path.is_file():
        raise RunError(f"{folder} holds no run ({RUN_FILE} is missing).", hint)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema, found = content["schema"], content["stage"]
        _ = content["status"], content["identity"], content["inputs"], content["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read: {error!r}", "remove the folder and run the stage again") from error
    if schema != SCHEMA:
        raise RunError(
            f"{path} has schema {schema}; this version of maskx reads {SCHEMA}.",
            "run the stage again, or use the version of maskx that wrote it",
        )
    if stage is not None and found != stage:
        raise RunError(f"{folder} holds a run of `maskx {command_of(found)}`, not of `maskx {stage}`.", hint)
    return dict(content)


def find_or_begin(
    folder: Path, stage: str, wanted: dict[str, Any], config: dict[str, Any], command: str, overwrite: bool
) -> tuple[RunState, dict[str, Any]]:
    """Find the run of a folder or begin one, and lock the folder unless the run is finished.

    Args:
        wanted: The ``identity`` and ``inputs`` that the run must have, as plain JSON values.

    Returns:
        The state, and the content of run.json.

    Raises:
        RunError: The folder holds something else, or another process writes there.
    """
    found = None if overwrite else _find(folder, stage, wanted)
    if found is not None and found["status"] == "finished":
        return "finished", found
    folder.mkdir(parents=True, exist_ok=True)
    lock_folder(folder)
    try:
        if not overwrite:
            found = _find(folder, stage, wanted)  # again: the process that had it locked may have finished it
        if found is None:
            _remove(folder)
            return "new", _begin(folder, stage, wanted, config, command)
    except BaseException:
        unlock_folder(folder)
        raise
    if found["status"] == "finished":
        unlock_folder(folder)
        return "finished", found
    return "resume", found


def _find(folder: Path, stage: str, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The run that is there and goes on; None where a new one may begin."""
    present = _content(folder)
    if not present:
        return None
    content = read_run(folder)
    found = differences({"stage": content["stage"]}, {"stage": stage})
    found += [line for part in ("identity", "inputs") for line in differences(content[part], wanted[part])]
    if not found:
        return content
    if content["stage"] == stage and _holds_nothing(content, present):
        return None
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
    """Remove what an earlier run left, unless it holds a run, such as an evaluation, that another process writes."""
    with contextlib.ExitStack() as locks:
        for path in folder.glob(f"*/**/{RUN_FILE}"):
            lock_folder(path.parent)
            locks.callback(unlock_folder, path.parent)
        # run.json goes last: interrupted here, the folder is still a run, and --overwrite can be given again.
        for path in sorted(_content(folder), key=lambda item: item.name == RUN_FILE):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def now() -> str:
    """The time of day in UTC, as run.json has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
