"""Seals: a digest that a file carries of itself, so that a bit that rotted is seen when the file is read.

A seal is ``maskx-sha256:`` and 64 hex digits at the end of a file, or in the header of safetensors: the SHA-256 of all
its bytes, with zeros in place of these digits. A file that is appended to has a CRC in each line instead.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from maskx_pipeline.text import json_text

_MARK = b"maskx-sha256:"
_DIGITS = 64
_PLACE = re.compile(rb"%b|(?:\"seal\": ?\"|<!-- )(?s:.{%d})(?=[0-9a-f]{%d}(?:\"| -->))" % (_MARK, len(_MARK), _DIGITS))
"""What stands before the digits; also where a bit of the mark itself rotted."""

BLANK = _MARK.decode() + "0" * _DIGITS
"""What is written where the seal will be."""

KEY = "seal"
"""Of a JSON object, whose last entry it is."""

_TAIL = 256
_HEAD = 1 << 16
_BLOCK_BYTES = 1 << 20
_CRC = ', "crc": "'


class DamagedError(ValueError):
    """The content of a file or of a line is not what was written."""

    def __init__(self, reason: str = "its content is not what was written, by its seal") -> None:
        super().__init__(reason)


def seal_file(path: Path) -> None:
    """Put the digest of a file in the place of its blank seal."""
    with path.open("r+b") as stream:
        place = _place(stream)
        if place is None:
            raise ValueError(f"{path} has no blank seal")
        digest = _digest(stream, place)
        stream.seek(place)
        stream.write(digest)


def append_seal(path: Path) -> None:
    """Seal a file whose readers do not mind a line behind its end: a picture, a page, a zip file."""
    with path.open("ab") as stream:
        stream.write(f"\n<!-- {BLANK} -->\n".encode())
    seal_file(path)


def is_sound(path: Path) -> bool | None:
    """Whether a file is what its seal says; None where it has none.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        place = _place(stream)
        if place is None:
            return None
        stream.seek(place)
        written = stream.read(_DIGITS)
        return written == _digest(stream, place)


def sealed_json(value: Mapping[str, Any]) -> str:
    """A JSON object with its seal as the last entry, as the text of a file."""
    plain = {**{key: item for key, item in value.items() if key != KEY}, KEY: BLANK}
    text = json_text(plain)
    head, _, end = text.rpartition("0" * _DIGITS)
    return head + hashlib.sha256(text.encode("utf-8")).hexdigest() + end


def read_json_file(path: Path) -> Any:
    """The value of a JSON file, without its seal.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or :class:`DamagedError`, it is not what its seal says.
    """
    raw = path.read_bytes()
    if _is_sound_text(raw) is False:
        raise DamagedError
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(value, dict):
        value.pop(KEY, None)
    return value


def line_of(value: Mapping[str, Any]) -> str:
    """A JSON object as a line that :func:`value_of` reads."""
    head = json.dumps(value)[:-1]
    return f'{head}{_CRC}{_crc(head):08x}"}}\n'


def value_of(line: str | bytes) -> dict[str, Any]:
    """The object that :func:`line_of` made a line of.

    Raises:
        DamagedError: The line is cut off or otherwise not what was written.
    """
    try:
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        head, _, end = text.rpartition(_CRC)
        if end != f'{_crc(head):08x}"}}\n':
            raise DamagedError("it is not what was written, by its crc")
        return dict(json.loads(head + "}"))
    except (UnicodeError, RecursionError) as error:
        raise DamagedError("it is not what was written") from error


def reason_of(error: Exception) -> str:
    """What to say of a file that cannot be read: the missing key of a KeyError would be a word alone."""
    return str(error) if isinstance(error, OSError | ValueError) else repr(error)


def _crc(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _is_sound_text(raw: bytes) -> bool | None:
    places = [found.end() for found in _PLACE.finditer(raw, max(0, len(raw) - _TAIL))]
    if not places:
        return None
    place = places[-1]
    blank = raw[:place] + b"0" * _DIGITS + raw[place + _DIGITS :]
    return raw[place : place + _DIGITS] == hashlib.sha256(blank).hexdigest().encode()


def _place(stream: BinaryIO) -> int | None:
    """Where the digits of the seal begin."""
    size = stream.seek(0, 2)
    start = max(0, size - _TAIL)
    stream.seek(start)
    places = [start + found.end() for found in _PLACE.finditer(stream.read(_TAIL))]
    if places:
        return places[-1]
    stream.seek(0)
    head = stream.read(9)
    found = _PLACE.search(head + stream.read(_HEAD)) if head[8:] == b"{" else None  # as safetensors begin
    return None if found is None else found.end()


def _digest(stream: BinaryIO, place: int) -> bytes:
    digest = hashlib.sha256()
    stream.seek(0)
    start = 0
    while block := stream.read(_BLOCK_BYTES):
        first, last = max(place, start) - start, min(place + _DIGITS, start + len(block)) - start
        if first < last:
            block = block[:first] + b"0" * (last - first) + block[last:]
        digest.update(block)
        start += len(block)
    return digest.hexdigest().encode()
