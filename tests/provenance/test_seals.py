"""A file that carries its own digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.seals import (
    DamagedError,
    append_seal,
    is_sound,
    line_of,
    read_json_file,
    value_of,
)


def test_a_seal_is_the_sha256_of_the_file_with_zeros_in_its_place(tmp_path: Path) -> None:
    """So that anybody can compute it."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    text = path.read_text()
    digits = text.split("maskx-sha256:")[1][:64]
    assert hashlib.sha256(text.replace(digits, "0" * 64).encode()).hexdigest() == digits
    assert read_json_file(path) == {"a": 1}


def test_every_flip_in_a_small_file_is_seen(tmp_path: Path) -> None:
    """Of the text, of the white space, and of the seal with its mark; nothing is taken for a file without one."""
    path, page = tmp_path / "a.json", tmp_path / "a.html"
    write_json(path, {"name": "é", "list": [1.5, None]})
    page.write_text("<p>")
    append_seal(page)
    for file in (path, page):
        raw = file.read_bytes()
        for place in range(8 * len(raw)):
            flipped = bytearray(raw)
            flipped[place // 8] ^= 1 << place % 8
            file.write_bytes(flipped)
            assert is_sound(file) is False, (file.name, place)


def test_a_picture_or_a_large_file_is_sealed_at_its_end(tmp_path: Path) -> None:
    """Also where the seal lies across two blocks that are read."""
    for size in (0, 100, (1 << 20) - 30, (1 << 20) - 90, (1 << 21) + 5):
        path = tmp_path / str(size)
        path.write_bytes(b"x" * size)
        assert is_sound(path) is None
        append_seal(path)
        assert is_sound(path) is True
        with path.open("r+b") as stream:
            stream.write(b"y")
        assert is_sound(path) is False


def test_half_a_character_is_written_and_read(tmp_path: Path) -> None:
    """JSON can hold it, and UTF-8 cannot."""
    write_json(tmp_path / "a.json", {"name": "\ud800"})
    assert read_json_file(tmp_path / "a.json") == {"name": "\ud800"}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": 1}x'])
def test_what_is_no_json_is_a_value_error(tmp_path: Path, text: str) -> None:
    """Never a RecursionError."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_json_file(tmp_path / "a.json")


def test_a_line_is_read_only_whole() -> None:
    """A flip, a cut and a line of another program are all damage."""
    line = line_of({"step": 20, "loss": 0.5})
    assert value_of(line) == {"step": 20, "loss": 0.5}
    for wrong in (line[:-1], line[:20], line.replace("20", "21"), '{"step": 20}\n', ""):
        with pytest.raises(DamagedError):
            value_of(wrong)
