"""Changing the structure of an HDF5 file so that a kill or a power cut leaves the old structure or the new one.

HDF5 has no journal: killed while it writes its chunk index, it leaves a file whose index may be wrong. So the few
changes of structure that an export needs are collected in memory, written to a redo file beside the file, and only
then copied into it; whoever opens the file next copies again what a kill has interrupted.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import remove_file, write_bytes
from maskx_pipeline.provenance.seals import DamagedError, line_of, value_of

_PAGE = 4096
_HEAD = '{"size": '


def restructure(path: Path, change: Callable[[h5py.File], None], *, metadata_bytes: int = 2048) -> None:
    """Apply ``change`` to an HDF5 file that nobody has open, wholly or not at all.

    The change may create, resize and delete datasets and write small values; what it writes passes through memory.

    Args:
        change: Gets the file, open for reading and writing.
        metadata_bytes: HDF5 takes room for metadata in blocks of this size.
    """
    with path.open("rb") as base:
        overlay = _Overlay(base)
        with h5py.File(overlay, "r+", libver="earliest", meta_block_size=metadata_bytes) as file:
            change(file)
    write_bytes(redo_path(path), overlay.to_bytes())  # on the disk, with its name, before the file is touched
    recover(path)


def recover(path: Path) -> None:
    """Finish a change that was interrupted; without one, do nothing.

    Raises:
        CacheError: The change is not what was written.
    """
    redo = redo_path(path)
    if not redo.is_file():
        return
    try:
        header, pages = read_redo(redo)
    except DamagedError as error:
        raise CacheError(
            f"{redo} is damaged: {error}.", "give --overwrite to start the export again, or another --out"
        ) from error
    descriptor = os.open(path, os.O_RDWR)
    try:
        for number, page in enumerate(header["pages"]):
            os.pwrite(descriptor, pages[number * _PAGE : (number + 1) * _PAGE], page * _PAGE)
        os.ftruncate(descriptor, header["size"])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    remove_file(redo)  # for good: copied again later, it would undo what was written since


def read_redo(redo: Path) -> tuple[dict[str, Any], bytes]:
    """What a pending change says of itself, and its pages.

    Raises:
        DamagedError: It is not what was written.
    """
    line, end, pages = redo.read_bytes().partition(b"\n")
    header = value_of(line + end)
    if header["sha256"] != hashlib.sha256(pages).hexdigest():
        raise DamagedError("a page is not what was written, by its digest")
    return header, pages


def is_redo(path: Path) -> bool:
    """Whether a file is a pending change of another one."""
    with path.open("rb") as stream:
        return stream.read(len(_HEAD)) == _HEAD.encode()


def redo_path(path: Path) -> Path:
    """Where the pending change of a file lies."""
    return path.with_name(f"{path.name}.redo")


class _Overlay(io.RawIOBase):
    """A file that keeps what is written to it in memory, page by page, and reads the rest from another file."""

    def __init__(self, base: io.BufferedReader) -> None:
        self._base = base
        self._base_size = self._size = base.seek(0, os.SEEK_END)
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def to_bytes(self) -> bytes:
        """A JSON line (size of the file, numbers of the changed pages, their digest), then these pages."""
        pages = sorted(number for number in self._pages if number * _PAGE < self._size)
        content = b"".join(bytes(self._pages[number]) for number in pages)
        digest = hashlib.sha256(content).hexdigest()
        return line_of({"size": self._size, "pages": pages, "sha256": digest}).encode() + content

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        for number, first, last, done in self._parts(length):
            page = self._pages.get(number)
            view[done : done + last - first] = page[first:last] if page is not None else self._read(number, first, last)
        self._position += length
        return length

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for number, first, last, done in self._parts(len(view)):
            if number not in self._pages:
                self._pages[number] = bytearray(self._read(number, 0, _PAGE))
            self._pages[number][first:last] = view[done : done + last - first]
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def _parts(self, length: int) -> list[tuple[int, int, int, int]]:
        """Cut ``length`` bytes from the position on: page number, first and last byte in it, bytes before."""
        parts, done = [], 0
        while done < length:
            number, first = divmod(self._position + done, _PAGE)
            last = min(_PAGE, first + length - done)
            parts.append((number, first, last, done))
            done += last - first
        return parts

    def _read(self, number: int, first: int, last: int) -> bytes:
        self._base.seek(min(number * _PAGE + first, self._base_size))
        return self._base.read(last - first).ljust(last - first, b"\0")
