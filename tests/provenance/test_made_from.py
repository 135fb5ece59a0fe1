"""Whether what is there already is what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.made_from import (
    are_written,
    differences,
    finished_note,
    noted_path,
    read_note,
    report_path,
    text_of,
)

MADE_FROM = {"annotation file": "a" * 64, "model": "b"}


def test_differences_name_each_setting_and_input_with_both_values() -> None:
    """As the user writes them; digests and long values are cut, null is not the same as nothing."""
    old = {"a_b": 1, "steps": (1, 2), "model": "a" * 64, "names": "x" * 100, "layers": None, "flag": True}
    new = {"a_b": 1.5, "steps": [1, 2], "model": "b" * 64, "names": "y", "flag": False, "from_": ""}
    assert differences(old, new) == [
        "a-b: 1 -> 1.5",
        "flag: true -> false",
        'from: not given -> ""',
        "layers: null -> not given",
        f"model: {'a' * 12} -> {'b' * 12}",
        f"names: {'x' * 57}... -> y",
    ]
    assert differences(old, old) == []


def test_of_many_differences_the_first_are_named() -> None:
    """The others are counted."""
    assert text_of("It differs", ["a", "b"]) == "It differs:\n  a\n  b"
    assert text_of("It differs", list("abcdefghijkl")).endswith("\n  j\n  and 2 more")


def test_only_an_untouched_output_of_the_same_origin_is_finished(tmp_path: Path) -> None:
    """A file of someone else, made from something else, or corrected by hand since is never taken or replaced."""
    out = tmp_path / "out.json"
    note = report_path(out)
    assert note == tmp_path / "out.report.json"
    assert finished_note(note, out, MADE_FROM) is None
    out.write_text("{}")
    with pytest.raises(OutputError, match=r"out\.json exists, and it was not written by maskx"):
        finished_note(note, out, MADE_FROM)
    out.unlink()
    with noted_path(out, note, MADE_FROM, {"filled": 2}) as temporary:
        temporary.write_text("{}")
    assert out.read_text() == "{}"
    found = finished_note(note, out, MADE_FROM)
    assert found is not None
    assert found["filled"] == 2
    assert read_note(note) == found
    with pytest.raises(OutputError, match=r"something else:\n  min-confidence: not given -> 0.5\n.*--overwrite"):
        finished_note(note, out, {**MADE_FROM, "min_confidence": 0.5})
    assert finished_note(note, out, {}, overwrite=True) is None
    out.write_text('{"corrected": 1}')
    with pytest.raises(OutputError, match="changed since"):
        finished_note(note, out, MADE_FROM)
    note.write_text("[]")
    assert read_note(note) is None
    with pytest.raises(OutputError, match="not written by"):
        finished_note(note, out, MADE_FROM)


def test_without_the_output_it_is_written_unless_another_file_has_the_place_of_its_note(tmp_path: Path) -> None:
    """A note of ours says nothing of what is gone."""
    out, note = tmp_path / "out.json", tmp_path / "out.report.json"
    with noted_path(out, note, MADE_FROM, {}) as temporary:
        temporary.write_text("{}")
    out.unlink()
    assert finished_note(note, out, {**MADE_FROM, "model": "c"}) is None
    note.write_text("mine")
    with pytest.raises(OutputError, match=r"out\.report\.json exists"):
        finished_note(note, out, MADE_FROM)


def test_annotation_files_say_in_their_first_words_what_they_were_made_from(tmp_path: Path) -> None:
    """However large they are; all of them must be there, and none of something else."""
    paths = [tmp_path / "train.json", tmp_path / "val.json"]
    info = {"description": "x", "settings": {"seed": 0}, "inputs": {"objects": "abc"}}
    assert not are_written(paths, info)
    for number, path in enumerate(paths):
        path.write_text(json.dumps({"info": info, "images": list(range(100_000))}))
        assert are_written(paths, info) == (number == 1)
    with pytest.raises(OutputError, match=r"train\.json was made from something else:\n  objects: abc -> abd\n"):
        are_written(paths, {**info, "inputs": {"objects": "abd"}})
    for content in ("[]", "", '{"info": 1}', '{"info": {"settings": 1}}', '{"info": {"settings": {', '{"images": []}'):
        paths[1].write_text(content)
        with pytest.raises(OutputError, match=r"val\.json exists, and was not written by maskx"):
            are_written(paths, info)


def test_an_end_between_the_note_and_its_output_is_not_another_programs_doing(tmp_path: Path) -> None:
    """The next start writes the output again; what was changed by hand is still never replaced."""
    out, note = tmp_path / "out.json", tmp_path / "out.report.json"

    def write(text: str, made_from: dict[str, str], *, killed: bool = False) -> None:
        with noted_path(out, note, made_from, {}) as temporary:
            temporary.write_text(text)
        if killed:
            out.write_text(before) if before else out.unlink()

    before = ""
    write("one", MADE_FROM, killed=True)
    assert finished_note(note, out, MADE_FROM) is None
    write("one", MADE_FROM)
    before = "one"
    other = {**MADE_FROM, "model": "c"}
    write("two", other, killed=True)
    assert finished_note(note, out, other) is None
    with pytest.raises(OutputError, match="something else"):
        finished_note(note, out, MADE_FROM)
    out.write_text("by hand")
    with pytest.raises(OutputError, match="changed since"):
        finished_note(note, out, other)


def test_overwrite_never_replaces_another_programs_file_in_the_place_of_the_note(tmp_path: Path) -> None:
    """`*.report.json` is a name that others give as well."""
    out, note = tmp_path / "out.json", tmp_path / "out.report.json"
    note.write_text('{"theirs": 1}')
    with pytest.raises(OutputError, match=r"out\.report\.json exists, and was not written by maskx"):
        finished_note(note, out, MADE_FROM, overwrite=True)
