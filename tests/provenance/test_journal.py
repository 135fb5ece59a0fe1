"""What an interrupted `maskx annotate` or `convert teacher` goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskx_pipeline.errors import OutputError
from maskx_pipeline.provenance.journal import Journal

MADE_FROM = {"annotation file": "a" * 64, "model": "b"}
MASK = {"annotation_id": 7, "segmentation": [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0]], "confidence": 0.5}


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
        assert again.done == ({} if end < whole else {3: [MASK]} if end < len(raw) else {3: [MASK], 5: []})
        again.add(9, [MASK])
        assert Journal(path, MADE_FROM).done == {**again.done}


def test_another_model_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    """Masks of two models must not be mixed; --overwrite begins anew, but keeps what is of this model."""
    path = tmp_path / "out.json.partial"
    Journal(path, MADE_FROM).add(3, [MASK])
    with pytest.raises(OutputError, match=r"model: b -> c"):
        Journal(path, {**MADE_FROM, "model": "c"})
    assert Journal(path, MADE_FROM, overwrite=True).done == {3: [MASK]}
    assert Journal(path, {**MADE_FROM, "model": "c"}, overwrite=True).done == {}
