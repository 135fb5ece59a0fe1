"""What an interrupted `maskx annotate` goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskx_pipeline.annotate.fill_masks import FilledMask
from maskx_pipeline.annotate.journal import Journal, finished_counts, report_path, write_report
from maskx_pipeline.errors import DataError

ORIGIN = {"annotation file": "a" * 64, "model": "b"}
MASK = FilledMask(7, 0.5, [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]], 2.0, 0)


def test_what_is_done_is_found_again_wherever_the_writing_was_cut_off(tmp_path: Path) -> None:
    """After a kill, whole lines count, and writing goes on behind them."""
    path = tmp_path / "a" / "out.json.partial"
    journal = Journal(path, ORIGIN)
    journal.add(3, [MASK])
    whole = path.stat().st_size
    journal.add(5, [])
    raw = path.read_bytes()
    for end in range(len(raw) + 1):
        path.write_bytes(raw[:end])
        again = Journal(path, ORIGIN)
        assert again.done == ({} if end < whole else {3: [MASK]} if end < len(raw) else {3: [MASK], 5: []})
        again.add(9, [MASK])
        assert Journal(path, ORIGIN).done == {**again.done}


def test_another_model_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    """Masks of two models must not be mixed; --overwrite begins anew, but keeps what is of this model."""
    path = tmp_path / "out.json.partial"
    Journal(path, ORIGIN).add(3, [MASK])
    with pytest.raises(DataError, match=r"model: b -> c"):
        Journal(path, {**ORIGIN, "model": "c"})
    assert Journal(path, ORIGIN, overwrite=True).done == {3: [MASK]}
    assert Journal(path, {**ORIGIN, "model": "c"}, overwrite=True).done == {}


def test_only_an_untouched_result_of_the_same_origin_is_finished(tmp_path: Path) -> None:
    """A file of someone else, of another origin, or corrected by hand since is never taken or replaced."""
    out = tmp_path / "out.json"
    assert finished_counts(out, ORIGIN) is None
    out.write_text("{}")
    with pytest.raises(DataError, match="not written by"):
        finished_counts(out, ORIGIN)
    write_report(out, ORIGIN, {"filled": 2})
    assert finished_counts(out, ORIGIN) == {"filled": 2}
    with pytest.raises(DataError, match="min-confidence"):
        finished_counts(out, {**ORIGIN, "min-confidence": "0.5"})
    out.write_text('{"corrected": 1}')
    with pytest.raises(DataError, match="changed since"):
        finished_counts(out, ORIGIN)
    report_path(out).write_text("[]")
    with pytest.raises(DataError, match="not written by"):
        finished_counts(out, ORIGIN)
