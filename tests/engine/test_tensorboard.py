"""What goes into metrics.jsonl can be looked at in TensorBoard, where its package is installed."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from tiny_training import ITERATIONS, train

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.runlog import METRICS_FILE, Run, open_run
from maskx_pipeline.errors import MachineError
from maskx_pipeline.provenance.event_records import damaged_record
from maskx_pipeline.stages.verify import verify


def _scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Name -> step -> value, as TensorBoard itself reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def _metrics(folder: Path) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for line in (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        assert values.pop("crc")
        step = values.pop("step")
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, {})[step] = pytest.approx(value, rel=1e-6)
    return found


def _run(folder: Path, *, tensorboard: bool = True) -> Run:
    return open_run(folder, stage="detect", identity={}, config={}, inputs={}, tensorboard=tensorboard)


def _event_files(folder: Path) -> list[Path]:
    return list(folder.glob("*tfevents*"))


def test_tensorboard_reads_what_metrics_jsonl_holds(tmp_path: Path) -> None:
    """Losses, learning rate and metrics, at their steps; what could not be measured is left out."""
    run = train(tmp_path / "run", tensorboard=True)
    run.log(ITERATIONS, box_ap=float("nan"))
    scalars = _scalars(run.folder)
    assert scalars == _metrics(run.folder)
    assert {"lr", "fit", "small", "loss", "ap"} == set(scalars)
    assert ITERATIONS in scalars["loss"]


def test_a_flip_in_an_event_file_is_found(tmp_path: Path) -> None:
    """By the CRCs that TensorBoard's format has; a record that was cut off by a kill is no damage."""
    train(tmp_path / "run", tensorboard=True)
    (path,) = _event_files(tmp_path / "run")
    sound = path.read_bytes()
    assert damaged_record(path) is None
    assert verify(tmp_path / "run").damaged == ()
    for place in range(3, 8 * len(sound), 61):
        raw = bytearray(sound)
        raw[place // 8] ^= 1 << place % 8
        path.write_bytes(raw)
        assert [found.path for found in verify(path).damaged] == [path], place
    path.write_bytes(sound[:-5])
    assert verify(path).damaged == ()


def test_a_resumed_run_has_one_curve(tmp_path: Path) -> None:
    """Steps that were done after the last state and are done again do not appear twice, also in an open TensorBoard."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", kill_at=25, number=signal.SIGINT, tensorboard=True)
    run = _run(tmp_path / "run")
    run.log(50, loss=1e9)  # written, and then killed before its state was saved
    train(tmp_path / "run", tensorboard=True)
    assert _scalars(run.folder) == _metrics(run.folder)


def test_an_open_tensorboard_forgets_what_was_rewound(tmp_path: Path) -> None:
    """It goes on from the file that it has open to the new one."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = _run(tmp_path / "run")
    for step in (10, 20, 30):
        run.log(step, loss=float(step))
    events = loader.EventAccumulator(str(run.folder))
    events.Reload()
    again = _run(tmp_path / "run")
    again.rewind(20)
    again.log(25, loss=0.5)
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(10, 10.0), (20, 20.0), (25, 0.5)]


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    """Nor imported."""
    before = {name for name in sys.modules if name.startswith("tensorboard")}
    run = train(tmp_path / "run")
    assert not _event_files(run.folder)
    assert {name for name in sys.modules if name.startswith("tensorboard")} == before


def test_asked_for_afterwards_it_is_made_from_metrics_jsonl(tmp_path: Path) -> None:
    """A finished run is not trained again for it; also where an earlier start of the run was asked for it."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", kill_at=25, number=signal.SIGINT, tensorboard=True)
    first = set(_event_files(tmp_path / "run"))
    run = train(tmp_path / "run")
    assert set(_event_files(run.folder)) == first
    for _ in range(2):  # the second time there is nothing left to do
        assert _run(tmp_path / "run").state == "finished"
        assert len(_event_files(run.folder)) == len(first) + 1
        assert _scalars(run.folder) == _metrics(run.folder)


def test_made_afterwards_it_leaves_out_damaged_lines_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a resumed training does."""
    run = train(tmp_path / "run")
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 999, "loss": 1.0}\n')  # without its crc
    assert _run(tmp_path / "run").state == "finished"
    assert "is dropped" in caplog.text
    assert _event_files(run.folder)
    assert max(_scalars(run.folder)["loss"]) < 999


def test_only_the_main_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others log the same lines."""
    pytest.importorskip("tensorboard")
    _run(tmp_path / "run")
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    other = _run(tmp_path / "run")
    other.log(1, loss=1.0)
    assert not _event_files(other.folder)


def test_a_missing_package_is_an_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MachineError, match="--tensorboard needs the package tensorboard") as caught:
        _run(tmp_path / "run")
    assert "pip install tensorboard" in str(caught.value)
    assert not (tmp_path / "run").exists()
