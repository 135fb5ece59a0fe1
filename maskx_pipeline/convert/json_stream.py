"""Reading a long JSON list entry by entry, in memory that does not grow with the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from maskx_pipeline.errors import DataError

_CHUNK = 1 << 20
"""Characters read at a time."""

_LONGEST_ENTRY = 1 << 26
"""Characters. What has not ended by then is a broken file, and not one more entry."""

_TRUNCATED_TAIL = 32
"""Characters. The decoder finds a fault this close to the end of the text where an escape or a literal is cut off."""

_SPACE = " \t\n\r"


def stream_json_list(path: Path) -> Iterator[dict[str, Any]]:
    """Read a file that holds one JSON list of objects; a UTF-8 byte order mark is accepted.

    Args:
        path: The file; only a few MB of it are in memory at a time.

    Yields:
        The objects, in their order.

    Raises:
        DataError: The file cannot be read, is not UTF-8, is broken or cut off, or holds something else.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            yield from _Reader(path, stream).entries()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8: {error}.", "unpack the file if it is a .zip") from error


class _Reader:
    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path = path
        self._stream = stream
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0  # place in the text
        self._before = 0  # characters read and forgotten before the text
        self._entries = 0

    def entries(self) -> Iterator[dict[str, Any]]:
        if self._next() != "[":
            raise DataError(f"{self._path} does not hold a JSON list.", "give Visual Genome's own file, unpacked")
        self._at += 1
        if self._next() == "]":
            self._end()
            return
        while True:
            yield self._entry()
            self._entries += 1
            separator = self._next()
            if separator == "]":
                self._end()
                return
            if separator != ",":
                raise self._fault("`,` or `]` is expected")
            self._at += 1

    def _entry(self) -> dict[str, Any]:
        if self._next() != "{":
            raise self._fault("an object `{` is expected")
        while True:
            try:
                entry, self._at = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                place = self._before + error.pos
                if not self._is_cut_off(error):
                    raise self._fault(error.msg, place) from error
                if not self._read_more():
                    raise self._fault("the file ends here, in the middle of an entry", place) from error
            except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
                raise self._fault(str(error)) from error
            else:
                result: dict[str, Any] = entry
                return result

    def _end(self) -> None:
        """Pass the ``]``; only white space may follow."""
        self._at += 1
        if self._next():
            raise self._fault("something follows the end of the list")

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        """Whether the entry may merely be longer than the text that was read so far."""
        at_the_end = len(self._text[error.pos :].lstrip()) < _TRUNCATED_TAIL
        open_string = error.msg.startswith("Unterminated string")
        return (at_the_end or open_string) and len(self._text) - self._at < _LONGEST_ENTRY

    def _next(self) -> str:
        """Go to the next character that is no white space; "" at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Forget what was decoded and read on, doubling a text that is still undecoded; False at the end."""
        rest = self._text[self._at :]
        more = self._stream.read(max(_CHUNK, len(rest)))
        self._before += self._at
        self._text, self._at = rest + more, 0
        return bool(more)

    def _fault(self, what: str, place: int | None = None) -> DataError:
        at = self._before + self._at if place is None else place
        after = f"after entry {self._entries - 1}" if self._entries else "at the first entry"
        if self._at == len(self._text):
            what = f"the file ends here, where {what}"
        return DataError(
            f"{self._path} is broken JSON, {after}, at character {at}: {what}.", "download and unpack it again"
        )
