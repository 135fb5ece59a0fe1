"""``"segmentation": null``, for which some importers refuse a whole file, as ``[]``, which says the same."""

from __future__ import annotations

import re
from typing import Protocol

_NULL = re.compile(rb'(?<!\\)("segmentation"\s*:\s*)null')


class ByteStream(Protocol):
    """What bytes are written to."""

    def write(self, piece: bytes, /) -> object: ...


class NullMasks:
    """Writes JSON to a stream, piece by piece, with an empty list in place of each null that stands for a mask.

    A quotation mark within a text has a backslash before it, so that only keys are found. No other byte changes.

    Attributes:
        changed: How many there were.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._held = b""
        self.changed = 0

    def write(self, piece: bytes, /) -> int:
        """Write a piece; what stands behind its last comma may go on in the next one, and waits."""
        text = self._held + piece
        end = text.rfind(b",") + 1
        self._held = text[end:]
        self._send(text[:end])
        return len(piece)

    def close(self) -> None:
        """Write what waits; the stream itself stays open."""
        self._send(self._held)
        self._held = b""

    def _send(self, text: bytes) -> None:
        text, changed = _NULL.subn(rb"\1[]", text)
        self.changed += changed
        self._stream.write(text)
