"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from maskx_pipeline.errors import ConfigError

_BLOCK_BYTES = 1 << 20


def sha256_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; rename it to ``path`` if the block succeeds, else remove it.

    A reader sees the old file or the new one, never a part, even if the process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_ending(path: Path, endings: Collection[str]) -> None:
    """Check the ending of a file to write, such as ``.png``, in capitals or not.

    Raises:
        ConfigError: It is none of ``endings``.
    """
    if path.suffix.lower() not in endings:
        ending = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise ConfigError(f"The file {path} {ending}.", f"give one that ends in {', '.join(endings)}")


def is_temporary(path: Path) -> bool:
    """Whether ``path`` is what :func:`atomic_path` leaves behind when the process is killed."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def json_value(value: Any) -> Any:
    """The same value, with null for numbers that JSON does not know (NaN, infinity), and lists for tuples."""
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value (see :func:`json_value`), whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(json_value(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
