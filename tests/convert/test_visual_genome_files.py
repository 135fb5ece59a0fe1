"""Reading Visual Genome's own files."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from maskx_pipeline.convert.visual_genome_files import stream_images, stream_objects
from maskx_pipeline.errors import DataError

OBJECT = {
    "synsets": ["a.n.01"], "h": 4, "object_id": 7, "merged_object_ids": [[]], "names": ['brackets ]}, \\ " and é'],
    "w": 3.5, "y": -2, "x": 1,
}  # fmt: skip
ENTRY = {"image_id": 5, "objects": [OBJECT], "image_url": "\U0001f600 \x01"}


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "list.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("indent", [None, 40])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_objects_are_read_from_any_json(write, indent, ascii_only):
    """With or without a byte order mark, white space and escapes; numbers stay whole or broken as they are."""
    text = "\ufeff \n" + json.dumps([ENTRY, ENTRY], indent=indent, ensure_ascii=ascii_only) + "\n "
    for entry in stream_objects(write(text)):
        (item,) = entry.objects
        assert (entry.image_id, item.id, item.synsets) == (5, 7, ["a.n.01"])
        assert repr(item.box_xywh) == "(1, -2, 3.5, 4)"


@pytest.mark.parametrize("text", ["[]", " [ ] \n"])
def test_an_empty_list_has_no_entries(write, text):
    """An empty list is sound."""
    assert list(stream_objects(write(text))) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a": ', "cut off: Input data was truncated"),
        ('[{"a": 1}', "cut off: Input data was truncated"),
        ('[{"a": 1},', "cut off: Input data was truncated"),
        ('[{"a": "never closed', "cut off: Input data was truncated"),
        ('[{"a": 1} {"a": 2}]', r"expected ',' or '\]' \(byte 10\)"),
        ('[{"a": 1}]]', r"trailing characters \(byte 11\)"),
        ("[]x", "trailing characters"),
        ('[{"a": NaN}]', r"invalid character \(byte 7\)"),
        ("[1, 2]", "entry 0: Expected `object`, got `int`"),
        ('{"a": 1}', "not a JSON list, or is cut off: Expected `array`, got `object`"),
        ("", "cut off"),
        (b"PK\x03\x04", "unpacked"),
        (b"[{\xff\xfe}]", "malformed"),
        (b'[{"image_id": 1, "objects": [{"synsets": ["\xff"]}]}]', "entry 0: .utf-8. codec"),
        ("[" + '{"a":' * 200_000, "recursion"),
    ],
)
def test_a_broken_file_is_named_with_the_place(write, text, message):
    """Broken, cut off, or something else than a list of objects."""
    with pytest.raises(DataError, match=r"list\.json") as caught:
        list(stream_objects(write(text)))
    assert caught.match(message)


@pytest.mark.parametrize("stream", [stream_images, stream_objects])
def test_a_missing_file_is_a_known_error(tmp_path, stream):
    """The path is named."""
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        list(stream(tmp_path / "none.json"))


def test_memory_is_little_more_than_the_file(write):
    """Objects are decoded image by image: all at once would take several times the file's bytes."""
    path = write(json.dumps([ENTRY | {"objects": [OBJECT] * 50}] * 1000))
    tracemalloc.start()
    count = sum(len(entry.objects) for entry in stream_objects(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 50_000
    assert peak < 1.1 * path.stat().st_size
