"""What a report takes from the runs: which is the baseline, which is shown, in what order the categories stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_world import EMPTY_ID, NAMES, SEEN_IDS, T_NAME, WORSE_ID, Study, make_study, write_run

from maskx_pipeline.errors import RunError
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.seals import line_of
from maskx_pipeline.study.report_plots import plot_ap
from maskx_pipeline.study.report_runs import baseline_of, category_gains, read_reported_runs, shown_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Read only."""
    return make_study(tmp_path_factory.mktemp("study"))


def test_the_baseline_is_the_class_agnostic_run_wherever_it_stands(study: Study) -> None:
    """And the run with T is the one shown."""
    for order in ([study.baseline, study.transfer], [study.transfer, study.baseline]):
        runs = read_reported_runs(order)
        shown = shown_run(runs)
        assert (shown.name, baseline_of(shown, runs).name) == (T_NAME, "agnostic")
        assert [run.name for run in runs] == [path.name for path in order]


def test_without_a_class_agnostic_run_the_first_is_the_baseline(study: Study, tmp_path: Path) -> None:
    """The fully supervised oracle is none, though it has no T either."""
    oracle = write_run(tmp_path / "oracle", study.val, right=list(NAMES), embedding="none", class_specific=True)
    runs = read_reported_runs([study.transfer, oracle])
    assert baseline_of(runs[1], runs).name == T_NAME


def test_each_direction_of_a_split_has_its_own_baseline(study: Study, tmp_path: Path) -> None:
    """A run is not measured by a baseline that was trained on other masks where there is one trained on the same."""
    other = tuple(id_ for id_ in NAMES if id_ not in SEEN_IDS)
    back = write_run(tmp_path / "agnostic-back", study.val, right=[], seen=other, embedding="none")
    t_back = write_run(tmp_path / "t-back", study.val, right=[3], seen=other, embedding="cls")
    runs = read_reported_runs([study.baseline, study.transfer, back, t_back])
    assert [baseline_of(run, runs).name for run in runs] == ["agnostic", "agnostic", "agnostic-back", "agnostic-back"]


def test_categories_stand_by_falling_gain_and_those_without_last(study: Study) -> None:
    """The gain may be negative; a category without objects has none."""
    baseline, transfer = read_reported_runs([study.baseline, study.transfer])
    rows = category_gains(transfer, baseline)
    gains = [row.gain for row in rows if row.gain is not None]
    assert gains == sorted(gains, reverse=True)
    assert len(gains) == len(NAMES) - 1
    assert gains[0] > 0 > gains[-1]
    assert [row.name for row in rows[-2:]] == [NAMES[WORSE_ID], NAMES[EMPTY_ID]]
    assert {row.name for row in rows if row.seen} == {NAMES[id_] for id_ in SEEN_IDS}


def test_runs_of_one_name_are_told_apart_by_their_paths(study: Study, tmp_path: Path) -> None:
    """And a folder that is named twice counts once."""
    again = write_run(tmp_path / "seed-1" / "agnostic", study.val, right=[], embedding="none")
    runs = read_reported_runs([study.baseline, again, study.transfer, study.baseline])
    assert [run.name for run in runs] == ["transfer/agnostic", "seed-1/agnostic", T_NAME]


def test_what_the_run_recorded_in_training_is_read(study: Study) -> None:
    """Losses, measurements, and the record of the detector; a line that was cut off is left out."""
    with (study.baseline / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 320, "mask_lo')
    (run,) = read_reported_runs([study.baseline])
    assert run.losses()[:2] == [(20.0, 0.05), (40.0, 0.025)]
    assert len(run.losses()) == 15
    assert run.measured("unseen_mask_ap") == [(300.0, 5.0)]
    assert run.detector is not None
    assert run.detector["command"] == "maskx detect"
    assert run.val_digest == study.val.digest


def test_ap_that_was_measured_once_is_no_curve(study: Study) -> None:
    """Points say nothing that the table does not; a second measurement makes a plot."""
    (run,) = read_reported_runs([study.baseline])
    assert plot_ap([run]) is None
    with (study.baseline / "metrics.jsonl").open("a") as stream:
        stream.write("\n" + line_of({"step": 400, "unseen_mask_ap": 6.0}))
    drawn = plot_ap(read_reported_runs([study.baseline]))
    assert drawn is not None
    assert "Mask AP by training step" in drawn


def test_a_run_that_was_not_evaluated_is_refused_with_the_command(study: Study, tmp_path: Path) -> None:
    """There is nothing to report of it."""
    folder = write_run(tmp_path / "t", study.val, right=[], embedding="cls")
    for path in (folder / "evaluation" / "cache-best").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="maskx evaluate --model"):
        read_reported_runs([folder])


def test_records_from_joint_training_and_grabcut_have_a_place(study: Study, tmp_path: Path) -> None:
    """A joint run calls its loss otherwise; GrabCut has neither training nor a record of its evaluation."""
    joint = write_run(tmp_path / "joint", study.val, right=[3], embedding="cls")
    record = json.loads((joint / "run.json").read_text())
    record.update(stage="e2e", transfer=record["config"], config={"split": "masked"}, detector=None)
    del record["detector"]
    write_json(joint / "run.json", record)
    (joint / "metrics.jsonl").write_text(line_of({"step": 1, "loss_mask": 0.5, "loss": 2.0}))
    grabcut = write_run(tmp_path / "grabcut", study.val, right=[], embedding="none")
    record = json.loads((grabcut / "run.json").read_text())
    record.update(stage="evaluate-teacher", inputs={"val annotations": study.val.digest}, seen=[])
    write_json(grabcut / "run.json", record)
    (grabcut / "evaluation" / "cache-best" / "run.json").unlink()
    (grabcut / "metrics.jsonl").unlink()
    *runs, _ = read_reported_runs([joint, grabcut, study.baseline])
    assert runs[0].losses() == [(1.0, 0.5)]
    assert runs[0].detector is None
    assert runs[1].losses() == []
    assert runs[1].val_digest == study.val.digest
    assert not runs[1].is_agnostic
    assert shown_run(read_reported_runs([grabcut, joint, study.baseline])).name == "joint"
