"""Digests of files in the ``files`` of a sealed JSON file beside or above them: for what cannot carry a seal itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from maskx_pipeline.provenance.files import is_temporary, sha256_of_file, write_json
from maskx_pipeline.provenance.seals import DamagedError, read_json_file

FILES = "files"
RUN_FILE = "run.json"
LIST_FILE = "files.json"
"""The list of a folder that is no run."""

LEVELS = 3
"""How many folders above a file may have the list that names it."""


def digests_of(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 (hex) of files, by their names relative to a folder."""
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in sorted(paths)}


def write_list(folder: Path, paths: Iterable[Path]) -> None:
    """List files in their folder, beside those that it lists already."""
    before = listed_files(folder / LIST_FILE)
    kept = {name: digest for name, digest in before.items() if (folder / name).is_file()}
    write_json(folder / LIST_FILE, {FILES: {**kept, **digests_of(folder, paths)}})


def files_of_run(folder: Path) -> Iterator[Path]:
    """The files of a run folder but run.json and the files of runs in it."""
    for path in folder.iterdir():
        if is_temporary(path) or path.name == RUN_FILE or path.is_symlink():
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and not (path / RUN_FILE).is_file():
            yield from files_of_run(path)


def listed_files(path: Path) -> dict[str, str]:
    """The names, relative to its folder, and digests that a list has; none where it is no sound list."""
    try:
        content: Any = read_json_file(path)
    except (OSError, ValueError):
        return {}
    found = content.get(FILES) if isinstance(content, dict) else None
    return dict(found) if isinstance(found, dict) else {}


def check_listed(path: Path) -> None:
    """Check a file of a run by what its run.json, in its folder or one above, says of it.

    Raises:
        OSError: It cannot be read.
        DamagedError: It is not what was written.
    """
    folder = next((parent for parent in list(path.parents)[:LEVELS] if (parent / RUN_FILE).is_file()), path.parent)
    digest = listed_files(folder / RUN_FILE).get(path.relative_to(folder).as_posix())
    if digest is not None and digest != sha256_of_file(path):
        raise DamagedError(f"{path.name} is not what was written, by {folder / RUN_FILE}")
