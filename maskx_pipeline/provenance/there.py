"""Whether what a command begins with is there at all: answered from file names and run.json, without heavy imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskx_pipeline.errors import CacheError, RunError
from maskx_pipeline.provenance.files import partial_path
from maskx_pipeline.provenance.run_folder import read_run

MODEL_STAGES = ("fit-transfer", "e2e")
"""Stages whose runs are models."""

EXPORT_HINT = "run `maskx export-embeddings`, or give another cache with --cache"


def newest_run(runs: Path) -> tuple[Path, dict[str, Any]]:
    """The folder and the run.json of the model of stage 2 or of joint training that was finished last.

    Raises:
        RunError: There is none.
    """
    finished = []
    for path in runs.glob("*/*/run.json"):
        content = read_run(path.parent, removed=True)
        if content["stage"] in MODEL_STAGES and content["status"] == "finished":
            finished.append((content["finished"], path.parent, content))
    if not finished:
        raise RunError(f"{runs} holds no finished model.", "run `maskx fit-transfer`, or give one with --model PATH")
    return max(finished, key=lambda found: found[:2])[1:]


def require_cache(path: Path) -> None:
    """Raise an error if there is no finished RoI cache.

    Raises:
        CacheError: It is missing or unfinished.
    """
    if path.is_file():
        return
    if path.exists():
        raise CacheError(f"{path} is no file.", "give another cache with --cache")
    partial = partial_path(path)
    if partial.exists():
        raise CacheError(
            f"{path} is not finished: only {partial.name} exists.",
            "run `maskx export-embeddings` again; it continues where it was interrupted",
        )
    raise CacheError(f"{path} does not exist.", EXPORT_HINT)
