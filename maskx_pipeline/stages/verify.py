"""`maskx verify`: whether files are still what maskx wrote."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskx_pipeline.config import DataConfig, MasksConfig
from maskx_pipeline.data.annotation_index import index_is_sound, index_path
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.project import PROJECT_FILE, read_project
from maskx_pipeline.provenance.file_lists import LEVELS
from maskx_pipeline.provenance.files import is_temporary
from maskx_pipeline.provenance.seals import DamagedError
from maskx_pipeline.provenance.verify import Checked, check_file, digests_in

_CACHE_ENDINGS = (".h5", ".hdf5")
_REDO_ENDINGS = tuple(f"{ending}{partial}.redo" for ending in _CACHE_ENDINGS for partial in ("", ".partial"))
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LARGEST_LIST = 1 << 28
_DAMAGED = ("damaged", "missing")
_EXPORT = "put back a copy, or run `maskx export-embeddings --overwrite`"


@dataclass(frozen=True)
class Verification:
    """What was found of all files."""

    files: tuple[Checked, ...]

    @property
    def damaged(self) -> tuple[Checked, ...]:
        """Those that are not what was written, or are gone."""
        return tuple(file for file in self.files if file.state in _DAMAGED)

    def to_json(self) -> dict[str, Any]:
        """Counts by state, and every file."""
        counts = Counter(file.state for file in self.files)
        return {
            "counts": {state: counts[state] for state in ("sound", "damaged", "missing", "unchecked")},
            "files": [
                {"path": str(file.path), "state": file.state, "what": file.what, "advice": file.advice}
                for file in self.files
            ],
        }

    def to_text(self, *, every: bool = False) -> str:
        """The damaged files, and how many are sound; every file if asked for."""
        lines = []
        for file in self.files:
            if file.state in _DAMAGED:
                lines.append(f"{file.state}: {file.path}: {file.what}")
                lines.append(f"  -> {file.advice}")
            elif every:
                lines.append(f"{file.state}: {file.path}" + (f" ({file.what})" if file.what else ""))
        counts = Counter(file.state for file in self.files)
        said = f"{counts['sound']} sound, {counts['damaged']} damaged"
        said += f", {counts['missing']} missing" if counts["missing"] else ""
        if counts["unchecked"]:
            said += f", {counts['unchecked']} without a checksum, such as images and files of your own"
        return "\n".join([*lines, f"{len(self.files)} file{'s' * (len(self.files) != 1)}: {said}."])


def verify(path: Path) -> Verification:
    """Check a file, or all files of a run folder, a project folder or any other.

    In a project folder the indexes of its annotation files are checked too, which lie in the user's cache folder.

    Raises:
        DataError: There is nothing of that name.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "give a run folder, a cache, a project folder or a file")
    if path.is_file():
        lists = [file for folder in list(path.parents)[:LEVELS] for file in sorted(folder.glob("*.json"))]
        return Verification((_check(path, _listed_in(lists)),))
    if not path.is_dir():
        raise DataError(
            f"{path} is neither a file nor a folder.", "give a run folder, a cache, a project folder or a file"
        )
    files = list(_files_below(path))
    listed = _listed_in(files)
    checked = [_check(file, listed) for file in files]
    gone = [Checked(name, "missing", "a list has it, and it is gone", _GONE) for name in listed if not name.exists()]
    return Verification((*checked, *gone, *_check_indexes(path)))


_GONE = "if you did not remove it yourself: put back a copy, or make it again with --overwrite"


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink() and not is_temporary(path):
                yield path


def _listed_in(files: Iterable[Path]) -> dict[Path, str]:
    """The digests that those files which are lists have of others, by path."""
    lists = (file for file in files if file.suffix == ".json" and file.stat().st_size < _LARGEST_LIST)
    return {name: digest for file in lists for name, digest in digests_in(file).items()}


def _check(path: Path, listed: dict[Path, str]) -> Checked:
    name = path.name.removesuffix(".partial")
    if name.endswith(_CACHE_ENDINGS) or _begins(path, _HDF5):
        return _check_cache(path)
    if name.endswith(_REDO_ENDINGS):
        return _check_redo(path)
    return check_file(path, listed)


def _check_cache(path: Path) -> Checked:
    from maskx_pipeline.cache.verify import faults_of_cache, faults_of_partial  # imports torch

    try:
        faults = faults_of_partial(path) if path.name.endswith(".partial") else faults_of_cache(path)
    except BlockingIOError:
        return Checked(path, "unchecked", "a process writes it")
    if faults is None:
        return Checked(path, "unchecked", "it has no checksums: another program wrote it")
    if faults:
        return Checked(path, "damaged", "; ".join(faults), _EXPORT)
    return Checked(path, "sound")


def _check_redo(path: Path) -> Checked:
    from maskx_pipeline.cache.restructure import read_redo

    try:
        read_redo(path)
    except DamagedError as error:
        return Checked(path, "damaged", str(error), _EXPORT)
    return Checked(path, "sound")


def _begins(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(mark)) == mark
    except OSError:
        return False


def _check_indexes(folder: Path) -> Iterator[Checked]:
    if not (folder / PROJECT_FILE).is_file():
        return
    try:
        project = read_project(folder)
        data, masks = project.load(DataConfig), project.load(MasksConfig)
    except ConfigError as error:
        yield Checked(folder / PROJECT_FILE, "damaged", error.message, "fix it")
        return
    for path in (data.train_annotations, data.val_annotations, masks.train_annotations, masks.val_annotations):
        sound = None if path is None else index_is_sound(path)
        if path is not None and sound is not None:
            what = "" if sound else f"this index of {path} is not what was written"
            yield Checked(index_path(path), "sound" if sound else "damaged", what, "remove it; it is made again")
