"""Reading a long JSON list entry by entry."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from maskx_pipeline.convert import json_stream
from maskx_pipeline.convert.json_stream import stream_json_list
from maskx_pipeline.errors import DataError

ENTRIES = [
    {},
    {"a": [1, -2.5e3, {"b": [[]]}], "c": 'brackets ]}, \\ " and é'},
    {"t": True, "f": False, "n": None, "e": "\U0001f600 \x01"},
]


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "list.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 40])
def test_entries_do_not_depend_on_where_the_text_is_cut(write, monkeypatch, chunk, indent):
    """An entry may be cut anywhere: in a word, a number, an escape, white space."""
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    for ascii_only in (True, False):
        text = "\ufeff \n" + json.dumps(ENTRIES, indent=indent, ensure_ascii=ascii_only) + "\n "
        assert list(stream_json_list(write(text))) == ENTRIES


@pytest.mark.parametrize("text", ["[]", " [ ] \n"])
def test_an_empty_list_has_no_entries(write, text):
    """An empty list is sound."""
    assert list(stream_json_list(write(text))) == []


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a": ', "after entry 0, at character 17: the file ends here"),
        ('[{"a": 1}', "the file ends here, where `,` or `]` is expected"),
        ('[{"a": 1},', "the file ends here, where an object"),
        ('[{"a": "never closed', "the file ends here"),
        ('[{"a": 1} {"a": 2}]', "`,` or `]` is expected"),
        ('[{"a": 1}]]', "something follows"),
        ("[]x", "something follows"),
        ("[1, 2]", "an object `{` is expected"),
        ('{"a": 1}', "does not hold a JSON list"),
        ("", "does not hold a JSON list"),
        (b"[{\xff\xfe}]", "not text in UTF-8"),
        ('[{"a": tru, "b": "' + "x" * 99 + '"}]', "at the first entry, at character 7"),
        ("[" + '{"a":' * 200_000, "recursion"),
    ],
)
def test_a_broken_file_is_named_with_the_place(write, monkeypatch, text, message, chunk):
    """Broken, cut off, or something else than a list of objects."""
    monkeypatch.setattr(json_stream, "_CHUNK", chunk if len(text) < 1000 else 1 << 20)
    with pytest.raises(DataError, match=r"list\.json") as caught:
        list(stream_json_list(write(text)))
    assert message in str(caught.value)


def test_a_missing_file_is_a_known_error(tmp_path):
    """The path is named."""
    with pytest.raises(DataError, match=r"none\.json cannot be read"):
        list(stream_json_list(tmp_path / "none.json"))


def test_an_entry_that_never_ends_is_not_read_to_the_end(write, monkeypatch):
    """A broken file is not gathered in memory in the hope of an end."""
    monkeypatch.setattr(json_stream, "_CHUNK", 10)
    monkeypatch.setattr(json_stream, "_LONGEST_ENTRY", 100)
    with pytest.raises(DataError, match="Unterminated string"):
        list(stream_json_list(write('[{"a": "' + "x" * 10_000 + '"}]')))


def test_memory_does_not_grow_with_the_file(write, monkeypatch):
    """A list of 6 MB is read with a chunk of 64 kB in less than 1 MB."""
    monkeypatch.setattr(json_stream, "_CHUNK", 1 << 16)
    path = write(json.dumps([{"number": i, "text": "x" * 500} for i in range(12_000)]))
    assert path.stat().st_size > 6_000_000
    tracemalloc.start()
    count = sum(1 for _ in stream_json_list(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 12_000
    assert peak < 1_000_000
