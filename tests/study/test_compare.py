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
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.study.compare import compare_runs

FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL")


def a_run(folder: Path, *, unseen: float | None = None, split: str = "all", **settings: str) -> Path:
    """A stage-2 run, evaluated if ``unseen`` (its mask AP) is given."""
    config = TransferConfig(**settings).to_mapping()
    if not folder.exists():
        open_run(folder, stage="fit-transfer", identity={}, config=config, inputs={}, command="")
    if unseen is not None:
        path = folder / "evaluation" / "cache-best" / f"ap-{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        sets = {"unseen": {"mask": {"AP": unseen, "AP50": 2 * unseen}}, "seen": {"mask": {"AP": 30.0, "AP50": None}}}
        path.write_text(json.dumps({"sets": sets, "categories": [{"id": 1, "mask_ap": 4.0}]}))
    return folder


def a_run_on(
    folder: Path,
    split: str,
    trained: list[int],
    *,
    unseen: float | None,
    seen: float | None,
    stage: str = "fit-transfer",
) -> Path:
    """An evaluated run trained on the masks of some of four categories; category 4 has no objects in val."""
    config = TransferConfig(embedding="cls", form="published", split=split).to_mapping()
    run = open_run(folder, stage=stage, identity={}, config=config, inputs={}, command="")
    run.update(transfer=config, seen=trained, categories=[{"id": n, "name": f"c{n}"} for n in (1, 2, 3, 4)])
    figures = {"unseen": unseen, "seen": seen}
    sets = {name: {"mask": six_figures(ap)} for name, ap in figures.items()}
    aps = {n: None if n == 4 else 10.0 * n for n in (1, 2, 3, 4)}
    per_category = [{"id": n, "mask_ap": ap, "mask": six_figures(ap)} for n, ap in aps.items()]
    path = folder / "evaluation" / "cache-best" / "ap-all.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"sets": sets, "categories": per_category}))
    return folder


def six_figures(ap: float | None) -> dict[str, float | None]:
    """Figures that are all different; APL is never measured."""
    return {name: None if ap is None else ap + n for n, name in enumerate(FIGURES)} | {"APL": None}


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    return [
        a_run(tmp_path / "agnostic", unseen=9.06, embedding="none", box_loss="none", coordinates=False),
        a_run(tmp_path / "t", unseen=20.1, embedding="cls"),
    ]


def test_runs_are_listed_in_the_order_asked_for(study: list[Path]) -> None:
    """With their settings; a dash where nothing was measured or a setting has no meaning."""
    assert compare_runs(study).to_text() == (
        "run       embedding  form          trained on  unseen AP  unseen AP50  seen AP  seen AP50\n"
        "agnostic  none       -             masked            9.1         18.1     30.0          -\n"
        "t         cls        rbf+xy+boxes  masked           20.1         40.2     30.0          -"
    )
    assert [row.run for row in compare_runs(study[::-1]).runs] == ["t", "agnostic"]


def test_a_form_that_was_changed_is_shown_as_it_is(tmp_path: Path) -> None:
    """What differs from the form decides the result as much as its name, and so do coordinates and boxes."""
    changed = a_run(
        tmp_path / "t", unseen=1.0, embedding="cls", form="published", condition="pca", kernel="rbf", box_loss="none",
        coordinates=False,
    )  # fmt: skip
    baseline = a_run(tmp_path / "b", unseen=1.0, embedding="none", box_loss="projection+pairwise", coordinates=False)
    forms = [row.form for row in compare_runs([changed, baseline]).runs]
    assert forms == ["published-pca-rbf", "boxes+pairwise"]


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


def test_best_weights_beside_last_ones_are_said(study: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """The newest evaluation counts, which may be of other weights than that of the next run."""
    compare_runs(study)
    assert not caplog.records
    folder = study[1] / "evaluation"
    (folder / "cache-best").rename(folder / "cache-last")
    comparison = compare_runs(study)
    assert "same checkpoint: t with the last weights" in caplog.text
    assert [row["evaluated"] for row in comparison.to_json()["runs"]] == ["cache-best", "cache-last"]


def test_masks_by_a_teacher_are_of_no_checkpoint(study: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """Beside last weights they are nothing to warn of."""
    for folder, name in zip(study, ("cache", "cache-last"), strict=True):
        (folder / "evaluation" / "cache-best").rename(folder / "evaluation" / name)
    compare_runs(study)
    assert not caplog.records


def test_different_limits_of_detections_are_said(study: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """100 is COCO's, and that of files that do not say."""
    path = next(study[1].glob("evaluation/*/ap-*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_detections": 300}))
    compare_runs(study)
    assert "an image and category: 100 and 300." in caplog.text


def test_what_was_not_evaluated_is_refused_with_the_command(tmp_path: Path) -> None:
    """All of them at once; also a broken record, and a folder that is no run."""
    folder = a_run(tmp_path / "t")
    with pytest.raises(RunError, match=r"maskx evaluate --model .*t`"):
        compare_runs([folder])
    others = [a_run(tmp_path / name) for name in ("u", "v")]
    with pytest.raises(RunError, match=r"^3 runs have not been evaluated: .*/t, .*/u, .*/v\.\n") as caught:
        compare_runs([folder, *others, a_run(tmp_path / "w", unseen=1.0)])
    assert "run `maskx evaluate --model RUN` for each of them" in str(caught.value)
    a_run(folder, unseen=1.0)
    (folder / "evaluation" / "cache-best" / "ap-all.json").write_text("{}")
    with pytest.raises(RunError, match="cannot be read"):
        compare_runs([folder])
    with pytest.raises(RunError, match="holds no run"):
        compare_runs([tmp_path])


@pytest.fixture
def both(tmp_path: Path) -> list[Path]:
    return [
        a_run_on(tmp_path / "sw" / "cls@voc", "voc", [1, 2], unseen=20.2, seen=35.2),
        a_run_on(tmp_path / "sw" / "cls@nonvoc", "nonvoc", [3, 4], unseen=26.0, seen=31.2),
        a_run_on(tmp_path / "sw" / "oracle", "all", [1, 2, 3, 4], unseen=None, seen=30.0),
        a_run_on(tmp_path / "e2e" / "cls@voc-free", "voc", [1, 2], unseen=19.2, seen=36.8, stage="e2e"),
    ]


def test_both_directions_are_laid_out_like_the_papers_table(both: list[Path]) -> None:
    """One line per method; the oracle is in both directions; a dash where a direction was not run."""
    assert compare_runs(both).to_text() == (
        "                       voc -> nonvoc     nonvoc -> voc\n"
        "method    training  AP on B  AP on A  AP on B  AP on A\n"
        "cls       sw           20.2     35.2     26.0     31.2\n"
        "oracle    sw           30.0     15.0     15.0     30.0\n"
        "cls-free  e2e          19.2     36.8        -        -"
    )


def test_both_directions_are_the_same_in_every_format(both: list[Path]) -> None:
    """Where there is one line of column names, each holds its direction."""
    comparison = compare_runs(both)
    cells = [row.split() for row in comparison.to_text().splitlines()[2:]]
    header, *rows = csv.reader(comparison.to_text("csv").splitlines())
    assert header[2:4] == ["voc -> nonvoc: AP on B", "voc -> nonvoc: AP on A"]
    assert header[4:] == ["nonvoc -> voc: AP on B", "nonvoc -> voc: AP on A"]
    assert rows == cells
    markdown = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in comparison.to_text("markdown").split("\n")
    ]
    assert [markdown[0], *markdown[2:]] == [header, *cells]
    methods = json.loads(json.dumps(comparison.to_json()))["methods"]
    assert methods[0]["directions"]["nonvoc -> voc"] == {"AP on B": 26.0, "AP on A": 31.2}
    assert methods[2]["directions"]["nonvoc -> voc"] == {"AP on B": None, "AP on A": None}
    assert len(comparison.to_json()["runs"]) == 4


def test_all_figures_stand_in_both_directions_as_in_table_2(both: list[Path]) -> None:
    """The six of B side by side, below them those of A; of the oracle they are means over the categories of a set."""
    assert compare_runs(both, all_figures=True).to_text() == (
        "                                         voc -> nonvoc: on B                       nonvoc -> voc: on B\n"
        "method    training     AP   AP50   AP75    APS    APM    APL     AP   AP50   AP75    APS    APM    APL\n"
        "cls       sw         20.2   21.2   22.2   23.2   24.2      -   26.0   27.0   28.0   29.0   30.0      -\n"
        "oracle    sw         30.0   31.0   32.0   33.0   34.0      -   15.0   16.0   17.0   18.0   19.0      -\n"
        "cls-free  e2e        19.2   20.2   21.2   22.2   23.2      -      -      -      -      -      -      -\n"
        "\n"
        "                                         voc -> nonvoc: on A                       nonvoc -> voc: on A\n"
        "method    training     AP   AP50   AP75    APS    APM    APL     AP   AP50   AP75    APS    APM    APL\n"
        "cls       sw         35.2   36.2   37.2   38.2   39.2      -   31.2   32.2   33.2   34.2   35.2      -\n"
        "oracle    sw         15.0   16.0   17.0   18.0   19.0      -   30.0   31.0   32.0   33.0   34.0      -\n"
        "cls-free  e2e        36.8   37.8   38.8   39.8   40.8      -      -      -      -      -      -      -"
    )


def test_all_figures_are_the_same_in_every_format(both: list[Path]) -> None:
    """Where there is one line of column names, each holds its direction and its set."""
    comparison = compare_runs(both, all_figures=True)
    blocks = [block.splitlines()[2:] for block in comparison.to_text().split("\n\n")]
    printed = [[row.split() for row in block] for block in blocks]
    header, *rows = csv.reader(comparison.to_text("csv").splitlines())
    assert header[2:5] == [f"voc -> nonvoc: {name} on B" for name in ("AP", "AP50", "AP75")]
    assert header[-1] == "nonvoc -> voc: APL on A"
    for row, on_b, on_a in zip(rows, *printed, strict=True):
        assert row == [*on_b[:8], *on_a[2:8], *on_b[8:], *on_a[8:]]
    markdown = comparison.to_text("markdown").splitlines()[2:]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in markdown] == rows
    found = json.loads(json.dumps(comparison.to_json()))
    assert found["methods"][0]["directions"]["nonvoc -> voc"]["AP75 on B"] == 28.0
    assert found["methods"][1]["directions"]["voc -> nonvoc"]["APS on A"] == 18.0
    assert found["runs"][0]["unseen mask"] == {**six_figures(20.2)}


def test_all_figures_of_runs_that_are_no_two_directions(both: list[Path]) -> None:
    """A line per run, and the figures of both sets on it."""
    header, row = csv.reader(compare_runs(both[:1], all_figures=True).to_text("csv").splitlines())
    assert header[4:] == [f"{side} {figure}" for side in ("unseen", "seen") for figure in FIGURES]
    assert row[4:7] == ["20.2", "21.2", "22.2"]
    assert row[10:12] == ["35.2", "36.2"]


def test_all_figures_of_a_record_without_them_is_an_error(both: list[Path]) -> None:
    """An evaluation of before; a dash would say that there is nothing to measure."""
    path = both[2] / "evaluation" / "cache-best" / "ap-all.json"
    record = json.loads(path.read_text())
    for row in record["categories"]:
        del row["mask"]
    write_json(path, record)
    assert compare_runs(both).to_text()
    with pytest.raises(RunError, match=r"maskx evaluate --model .*oracle"):
        compare_runs(both, all_figures=True)


def test_long_names_of_category_sets_stand_above_their_columns(tmp_path: Path) -> None:
    """The two directions never run into one another."""
    a, b = "@sets/a-rather-long-name.txt", "@sets/the-other-long-name.txt"
    runs = [
        a_run_on(tmp_path / "t@a-rather-long-name", a, [1, 2], unseen=1.0, seen=2.0),
        a_run_on(tmp_path / "t@the-other-long-name", b, [3, 4], unseen=3.0, seen=4.0),
    ]
    above, header, row = compare_runs(runs).to_text().splitlines()
    assert above.split("  ")[-1].strip() == "the-other-long-name -> a-rather-long-name"
    assert len(above) == len(header) == len(row)
    assert row.split() == ["t", "sw", "1.0", "2.0", "3.0", "4.0"]


def test_a_second_run_of_a_method_has_a_line_of_its_own(both: list[Path], tmp_path: Path) -> None:
    """Nothing is averaged or replaced unseen, such as the seeds of a study."""
    again = a_run_on(tmp_path / "seed-1" / "cls@voc", "voc", [1, 2], unseen=1.0, seen=2.0)
    rows = [row.split() for row in compare_runs([*both, again]).to_text().splitlines()[2:]]
    assert rows[-1] == ["cls", "sw", "1.0", "2.0", "-", "-"]
    assert rows[0] == ["cls", "sw", "20.2", "35.2", "26.0", "31.2"]


@pytest.mark.parametrize("other", [[2, 3, 4], [3], [1, 2]])
def test_sets_that_are_not_each_others_rest_are_not_two_directions(tmp_path: Path, other: list[int]) -> None:
    """Overlapping sets, sets that leave categories out, and one set twice keep the table with a line per run."""
    runs = [
        a_run_on(tmp_path / "t@voc", "voc", [1, 2], unseen=1.0, seen=2.0),
        a_run_on(tmp_path / "t@other", "@other.txt", other, unseen=1.0, seen=2.0),
    ]
    assert compare_runs(runs).to_text().splitlines()[0].startswith("run ")
    assert "methods" not in compare_runs(runs).to_json()
