"""The runs of a study as one table."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from maskx_pipeline.config import TransferConfig
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import RunError
from maskx_pipeline.evaluation.compare import compare_runs


def a_run(folder: Path, *, unseen: float | None = None, split: str = "all", **settings: str) -> Path:
    """A stage-2 run, evaluated if ``unseen`` (its mask AP) is given."""
    config = TransferConfig(**settings).to_mapping()
    if not folder.exists():
        open_run(folder, stage="fit-transfer", identity={}, config=config, inputs={}, command="")
    if unseen is not None:
        path = folder / "evaluation" / "cache-best" / f"ap-{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        sets = {"unseen": {"mask": {"AP": unseen, "AP50": 2 * unseen}}, "seen": {"mask": {"AP": 30.0, "AP50": None}}}
        path.write_text(json.dumps({"sets": sets}))
    return folder


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    return [
        a_run(tmp_path / "agnostic", unseen=9.06, embedding="none"),
        a_run(tmp_path / "t", unseen=20.1, embedding="cls", form="conditioned"),
    ]


def test_runs_are_listed_in_the_order_asked_for(study: list[Path]) -> None:
    """With their settings; a dash where nothing was measured or a setting has no meaning."""
    assert compare_runs(study).to_text() == (
        "run       embedding  form         trained on  unseen AP  unseen AP50  seen AP  seen AP50\n"
        "agnostic  none       -            masked            9.1         18.1     30.0          -\n"
        "t         cls        conditioned  masked           20.1         40.2     30.0          -"
    )
    assert [row.run for row in compare_runs(study[::-1]).runs] == ["t", "agnostic"]


def test_every_format_holds_the_same_cells(study: list[Path]) -> None:
    """For a terminal, a document, a spreadsheet and a program."""
    comparison = compare_runs(study)
    cells = [row.split() for row in comparison.to_text().splitlines()[1:]]
    assert list(csv.reader(comparison.to_text("csv").splitlines()))[1:] == cells
    markdown = comparison.to_text("markdown").splitlines()
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in markdown[2:]] == cells
    assert len({len(row) for row in markdown}) == 1
    assert json.loads(json.dumps(comparison.to_json()))["runs"][1]["unseen mask"]["AP"] == 20.1


def test_the_newest_evaluation_counts(tmp_path: Path) -> None:
    """A run may be evaluated again, on another category set."""
    folder = a_run(tmp_path / "t", unseen=1.0, split="voc")
    os.utime(folder / "evaluation" / "cache-best" / "ap-voc.json", (1, 1))
    a_run(folder, unseen=2.0, split="all")
    assert compare_runs([folder]).runs[0].unseen["AP"] == 2.0


def test_what_was_not_evaluated_is_refused_with_the_command(tmp_path: Path) -> None:
    """Also a broken record, and a folder that is no run."""
    folder = a_run(tmp_path / "t")
    with pytest.raises(RunError, match=r"maskx evaluate --model .*t`"):
        compare_runs([folder])
    a_run(folder, unseen=1.0)
    (folder / "evaluation" / "cache-best" / "ap-all.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        compare_runs([folder])
    with pytest.raises(RunError, match="holds no run"):
        compare_runs([tmp_path])
