"""What an interrupted `maskx annotate` or `convert teacher` goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.journal import Journal, is_unfinished

MADE_FROM = {"annotation file": "a" * 64, "model": "b"}
MASK = {"annotation_id": 7, "segmentation": [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]], "confidence": 0.5}


def _masks(journal: Journal) -> dict[int, list[Any]]:
    return {image_id: journal.masks_of(image_id) for image_id in journal.done}


def test_what_is_done_is_found_again_wherever_the_writing_was_cut_off(tmp_path: Path) -> None:
    """After a kill, whole lines count, and writing goes on behind them."""
    path = tmp_path / "a" / "out.json.partial"
    journal = Journal(path, MADE_FROM)
    journal.add(3, [MASK])
    whole = path.stat().st_size
    journal.add(5, [])
    raw = path.read_bytes()
    for end in range(len(raw) + 1):
        path.write_bytes(raw[:end])
        again = Journal(path, MADE_FROM)
        assert _masks(again) == ({} if end < whole else {3: [MASK]} if end < len(raw) else {3: [MASK], 5: []})
        again.add(9, [MASK])
        assert _masks(Journal(path, MADE_FROM)) == _masks(again)


def test_another_model_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    """Masks of two models must not be mixed; --overwrite begins anew, but keeps what is of this model."""
    path = tmp_path / "out.json.partial"
    Journal(path, MADE_FROM).add(3, [MASK])
    with pytest.raises(OutputError, match=r"model: b -> c"):
        Journal(path, {**MADE_FROM, "model": "c"})
    assert _masks(Journal(path, MADE_FROM, overwrite=True)) == {3: [MASK]}
    assert Journal(path, {**MADE_FROM, "model": "c"}, overwrite=True).done == {}


def test_a_file_of_another_program_is_never_taken_for_a_journal(tmp_path: Path) -> None:
    """Not even with --overwrite: a browser calls its downloads `*.partial` too."""
    path = tmp_path / "out.json.partial"
    path.write_text("half of a download")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not written by maskx"):
            Journal(path, MADE_FROM, overwrite=overwrite)
    assert path.read_text() == "half of a download"


def test_lines_of_another_work_are_not_taken(tmp_path: Path) -> None:
    """Where the disk has no locks two may write one journal: masks of two models must not get into one file."""
    path = tmp_path / "out.json.partial"
    first = Journal(path, MADE_FROM)
    first.add(3, [MASK])
    second = Journal(path, {**MADE_FROM, "model": "c"}, overwrite=True)
    second.add(4, [MASK])
    first.add(5, [MASK])
    assert set(Journal(path, {**MADE_FROM, "model": "c"}).done) == {4}


def test_nothing_is_changed_before_the_work_begins(tmp_path: Path) -> None:
    """Data and settings are checked in between, also with --overwrite."""
    path = tmp_path / "out.json.partial"
    Journal(path, MADE_FROM).add(3, [MASK])
    before = path.read_bytes()
    other = Journal(path, {**MADE_FROM, "model": "c"}, overwrite=True)
    assert path.read_bytes() == before
    assert is_unfinished(tmp_path / "out.json", MADE_FROM)
    other.begin()
    assert not is_unfinished(tmp_path / "out.json", MADE_FROM)
