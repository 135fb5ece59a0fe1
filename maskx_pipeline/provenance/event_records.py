"""The records of TensorBoard's event files, each of which has two CRCs of its own: of its length, and of its bytes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_POLYNOMIAL = 0x82F63B78  # CRC-32C, from the lowest bit
_TABLE: list[int] = []


def damaged_record(path: Path) -> int | None:
    """The number of the first record that is not what was written, from 1; None where all are sound.

    A last one that was cut off is no damage: TensorBoard waits for the rest.

    Raises:
        OSError: The file cannot be read.
    """
    left = path.stat().st_size
    with path.open("rb") as stream:
        number = 0
        while left >= 12:
            number += 1
            head = _sound(stream, 8)
            if head is None:
                return number
            (length,) = struct.unpack("<Q", head)
            left -= 12
            if left < length + 4:
                return None
            if _sound(stream, length) is None:
                return number
            left -= length + 4
    return None


def _sound(stream: BinaryIO, length: int) -> bytes | None:
    """Bytes, if they are what the masked CRC behind them says."""
    data, said = stream.read(length), stream.read(4)
    crc = _crc32c(data)
    return data if struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF) == said else None


def _crc32c(data: bytes) -> int:
    if not _TABLE:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
            _TABLE.append(value)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
