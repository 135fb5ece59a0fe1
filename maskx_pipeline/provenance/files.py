"""Files that are whole or not there, after a kill and after a power cut: every result is written through here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import ConfigError
from maskx_pipeline.provenance.room import writing
from maskx_pipeline.provenance.seals import sealed_json

_BLOCK_BYTES = 1 << 20
_OF_SAFETENSORS = r"\.tmp[A-Za-z0-9]{6}"
_LONGEST_NAME = 230  # bytes; file systems allow 255


def regular(path: Path) -> Path:
    """The same path, of a file that can be read to its end and once more.

    Raises:
        OSError: It is missing, or a pipe or a device: waiting for these may never end.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder, whoever opens it says more
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return path


def real_path(path: Path) -> Path:
    """The path without symbolic links; of links that lead in a circle, as far as they go, where pathlib raises."""
    return Path(os.path.realpath(path))


def sha256_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with regular(path).open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path, *, sync: bool = True, needed: int | None = None) -> Iterator[Path]:
    """Give a new temporary file in the same folder; rename it to ``path`` if the block succeeds, else remove it.

    A reader sees the old file or the new one, never a part, even if the process is killed or the power fails. The file
    gets the permissions that the umask leaves, whatever the library that writes it thinks of that.

    Args:
        sync: Bring it to the disk before this ends. False for one of many files which only count once another file
            is there; see :func:`sync_tree`.
        needed: Bytes of the file, where that is known, for who has to make room.

    Raises:
        MachineError: The disk is full, or something like that.
    """
    with writing(path, needed=needed):
        make_folder(path.parent)
        temporary = _temporary_path(path)
        mode = _create(temporary)
        try:
            yield temporary
            if temporary.stat().st_mode != mode:
                temporary.chmod(stat.S_IMODE(mode))
            if sync:
                move_into_place(temporary, path)
            else:
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a new temporary folder beside ``folder``; it takes its place if the block succeeds, and is else removed."""
    place = folder.resolve()
    make_folder(place.parent)
    temporary = _temporary_path(place)
    old = temporary.with_name(f"{temporary.name.removesuffix('.tmp')}.old.tmp")
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        if place.exists():
            place.rename(old)
        temporary.rename(place)
        sync_folder(place.parent)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def partial_path(path: Path) -> Path:
    """Where a cache lies until it is whole, or the journal of a file until all its images are done."""
    return path.with_name(f"{path.name}.partial")


def write_text(path: Path, text: str, *, sync: bool = True, errors: str = "strict") -> None:
    """Write a text as UTF-8, whole or not at all; see :func:`atomic_path`."""
    write_bytes(path, text.encode("utf-8", errors), sync=sync)


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write bytes, whole or not at all; see :func:`atomic_path`."""
    with atomic_path(path, sync=sync, needed=len(content)) as temporary:
        temporary.write_bytes(content)


def append_text(path: Path, text: str, *, sync: bool = False) -> int:
    """Add a text at the end of a file, and return where it begins, in bytes.

    Args:
        sync: Bring it to the disk. Without, a power cut may take it away, or leave a part of it.

    Raises:
        MachineError: The disk is full, or something like that.
    """
    with writing(path), path.open("a", encoding="utf-8") as stream:
        start = stream.tell()
        stream.write(text)
        if sync:
            stream.flush()
            os.fsync(stream.fileno())
    return start


def cut_file(path: Path, size: int) -> None:
    """Keep the first bytes of a file."""
    with path.open("r+b") as stream:
        stream.truncate(size)
        os.fsync(stream.fileno())


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a file that is whole, and bring first its content and then its new name to the disk."""
    sync_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, so that it does not come back after a power cut."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Bring the content of a file to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can be asked to."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS):
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring a folder with all that is in it to the disk."""
    for path in folder.rglob("*"):
        sync_folder(path) if path.is_dir() else sync_file(path)
    sync_folder(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, so that they are still there after a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def check_ending(path: Path, endings: Collection[str]) -> None:
    """Check the ending of a file to write, such as ``.png``, in capitals or not.

    Raises:
        ConfigError: It is none of ``endings``.
    """
    if path.suffix.lower() not in endings:
        ending = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise ConfigError(f"The file {path} {ending}.", f"give one that ends in {', '.join(endings)}")


def is_temporary(path: Path) -> bool:
    """Whether ``path`` is what :func:`atomic_path`, or safetensors in it, leaves when the process is killed."""
    name = path.name
    return (name.startswith(".") and name.endswith(".tmp")) or re.fullmatch(_OF_SAFETENSORS, name) is not None


def remove_temporaries(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left of their writing. For who holds the lock of it: others are not writing then.

    Args:
        name: Only what was to become the file or folder of that name, or its partial file. Without it, the folder is
            maskx's own, and what the library of safetensors leaves goes too.
    """
    stem = ".+" if name is None else re.escape(_stem(name))
    of_library = f"|{_OF_SAFETENSORS}" if name is None else ""
    again = r"\.[0-9a-f]{8}\.tmp"  # of a file that is sealed before it gets its name
    left = re.compile(rf"\.{{1,2}}{stem}(\.partial)?\.[0-9a-f]{{8}}(\.old)?\.tmp({again})?{of_library}", re.DOTALL)
    for path in folder.iterdir() if folder.is_dir() else ():
        if left.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{_stem(path.name)}.{secrets.token_hex(4)}.tmp")


def _stem(name: str) -> str:
    """Of a temporary name, which must not become longer than names may be."""
    raw = os.fsencode(name)
    return name if len(raw) <= _LONGEST_NAME else hashlib.sha256(raw).hexdigest()


def _create(path: Path) -> int:
    """Make an empty file that was not there; returns its mode, which the umask has had its part in."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)


def json_value(value: Any) -> Any:
    """The same value, with null for numbers that JSON does not know (NaN, infinity), and lists for tuples."""
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object (see :func:`json_value`) with its seal, whole or not at all."""
    write_text(path, sealed_json(json_value(value)))
