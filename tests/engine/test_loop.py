"""Rule 4: stopping and resuming equals never having stopped."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from faults_world import Zygote
from tiny_training import CONSTANT, tiny_module, train, weights_metadata
from torch import nn

from maskx_pipeline.engine.checkpoint import load_weights
from maskx_pipeline.engine.loop import run_loop, seed_step
from maskx_pipeline.engine.runlog import open_run
from maskx_pipeline.errors import RunError, WeightsError
from maskx_pipeline.provenance.files import write_json

_PROGRAM = Path(__file__).with_name("tiny_training.py")
_OUTPUT = ("best.safetensors", "last.safetensors", "metrics.jsonl")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return folder


def _run_program(zygote: Zygote, *arguments: object) -> int | None:
    return zygote.python(_PROGRAM, *arguments).wait(120).code


def _assert_same_files(folder: Path, other: Path) -> None:
    for name in _OUTPUT:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def test_killed_training_resumes_bit_identically(uninterrupted: Path, tmp_path: Path, zygote: Zygote) -> None:
    """SIGKILL between steps, once between two states and once before the first one, changes no bit of any output."""
    folder = tmp_path / "run"
    assert _run_program(zygote, folder, 4) == -signal.SIGKILL
    assert _run_program(zygote, folder, 33) == -signal.SIGKILL
    assert (folder / "state.pt").exists()
    train(folder)
    _assert_same_files(folder, uninterrupted)


def test_interrupted_training_saves_its_step_and_resumes(uninterrupted: Path, tmp_path: Path) -> None:
    """Ctrl-C finishes the step, saves the state even off the schedule, and is reported as an interrupt."""
    folder = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)  # ignored where the tests run in the background
    with pytest.raises(KeyboardInterrupt):
        train(folder, kill_at=33, number=signal.SIGINT)
    assert json.loads((folder / "run.json").read_text())["step"] == 34
    train(folder)
    _assert_same_files(folder, uninterrupted)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_an_interrupt_of_one_process_stops_all_after_the_same_step(uninterrupted: Path, tmp_path: Path) -> None:
    """Under torchrun Ctrl-C may reach one process a step before another, or only one; none is left waiting."""
    folder = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(_PROGRAM), str(folder), "33", str(int(signal.SIGINT)), "1"]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(command, env={**common, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in "01"
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert all("KeyboardInterrupt" in error for error in errors), errors
    assert json.loads((folder / "run.json").read_text())["step"] == 34
    train(folder)
    _assert_same_files(folder, uninterrupted)


def test_resuming_goes_on_with_the_average_and_with_parts(tmp_path: Path) -> None:
    """Both runs have the same files, which are not those of a training without an average."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", kill_at=33, number=signal.SIGINT, ema=0.9, parts=2)
    for name in ("stopped", "whole"):
        train(tmp_path / name, ema=0.9, parts=2)
    _assert_same_files(tmp_path / "stopped", tmp_path / "whole")
    train(tmp_path / "usual", parts=2)
    averaged, usual = (load_weights(tmp_path / name / "last.safetensors")["0.weight"] for name in ("whole", "usual"))
    assert not torch.equal(averaged, usual)
    torch.testing.assert_close(averaged, usual, atol=0.1, rtol=0)


def test_what_is_measured_and_written_is_the_average_and_training_goes_on_without_it(tmp_path: Path) -> None:
    """The average of the weights of all steps, worked out beside the loop, with a decay that grows to 0.5."""
    module, seen, measured = tiny_module(), [], []
    before = module[0].weight.detach().clone()

    def loss_at(step: int) -> dict[str, torch.Tensor]:
        seen.append(module[0].weight.detach().clone())
        return {"loss": module(torch.randn(4, 6)).square().mean()}

    def evaluate(step: int) -> dict[str, float]:
        measured.append(module[0].weight.detach().clone())
        return {"ap": float(step)}

    _loop(tmp_path / "run", module, loss_at=loss_at, ema=0.5, evaluate=evaluate, evaluate_every=25)
    average, averages = before.double(), []
    for number, weights in enumerate([*seen[1:], module[0].weight.detach()], start=1):
        decay = min(0.5, (1 + number) / (10 + number))
        average = decay * average + (1 - decay) * weights.double()
        averages.append(average)
    torch.testing.assert_close(measured, [averages[24].float(), averages[49].float()], atol=1e-6, rtol=0)
    for name in ("best", "last"):
        assert torch.equal(load_weights(tmp_path / "run" / f"{name}.safetensors")["0.weight"], measured[1])
    assert not torch.equal(module[0].weight, measured[1])
    other = tiny_module()
    _loop(tmp_path / "other", other, loss_at=lambda _: {"loss": other(torch.randn(4, 6)).square().mean()})
    assert torch.equal(other[0].weight, module[0].weight)


def test_a_batch_in_parts_gives_the_gradients_of_the_batch(tmp_path: Path) -> None:
    """Four parts of four rows, or sixteen rows at once; the losses that are logged are the same too."""
    rows = torch.randn(50, 16, 6, generator=torch.Generator().manual_seed(0))

    def trained(name: str, parts: int) -> tuple[torch.Tensor, float]:
        module, taken = nn.Linear(6, 2), iter(rows.view(50 * parts, 16 // parts, 6))
        torch.nn.init.eye_(module.weight)
        torch.nn.init.zeros_(module.bias)

        def loss_at(step: int) -> dict[str, torch.Tensor]:
            return {"loss": (module(next(taken)) - 1).square().mean()}

        _loop(tmp_path / name, module, loss_at=loss_at, parts=parts)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return module.weight.detach(), json.loads(lines[0])["loss"]

    (whole, loss), (in_parts, same_loss) = trained("whole", 1), trained("parts", 4)
    assert not torch.equal(whole, torch.eye(2, 6))
    torch.testing.assert_close(in_parts, whole, atol=1e-6, rtol=0)
    assert same_loss == pytest.approx(loss, rel=1e-5)


def test_going_on_in_another_precision_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """``amp = auto`` is bf16 on one machine and float32 on the next, and the settings are the same on both."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(folder, kill_at=33, number=signal.SIGINT)
    assert json.loads((folder / "run.json").read_text())["precision"] == "float32"
    with caplog.at_level(logging.WARNING, logger="maskx"):
        train(folder, amp_dtype=torch.bfloat16)
    assert "began in float32 and goes on in bfloat16" in caplog.text


def test_the_best_weights_are_those_of_the_best_metric(uninterrupted: Path) -> None:
    """The metric peaks at step 30; the last weights are of the last step."""
    best, last = uninterrupted / "best.safetensors", uninterrupted / "last.safetensors"
    assert weights_metadata(best)["step"] == "30"
    assert weights_metadata(last) == {"step": "57"}
    assert not torch.equal(load_weights(best)["0.weight"], load_weights(last)["0.weight"])
    record = json.loads((uninterrupted / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["results"]["ap"] == pytest.approx(-27, abs=0.1)


def test_metrics_hold_the_mean_losses_and_each_evaluation(uninterrupted: Path) -> None:
    """A line every 20 steps and at the end, and a line for each evaluation."""
    lines = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [20, 40, 57]
    assert [line["step"] for line in lines if "ap" in line] == [10, 20, 30, 40, 50, 57]
    assert lines[1]["loss"] == pytest.approx(lines[1]["fit"] + lines[1]["small"])


def _loop(folder: Path, module: nn.Module, **changes: object) -> dict[str, float]:
    arguments: dict[str, object] = {
        "module": module,
        "schedule": CONSTANT,
        "loss_at": lambda _: {"loss": module(torch.randn(4, 6)).square().mean()},
        "run": open_run(folder, stage="detect", identity={}, config={}, inputs={}),
        "seed": 0,
        "amp_dtype": None,
        "device": torch.device("cpu"),
        "checkpoint_every": 10,
        "evaluate": None,
        "evaluate_every": 0,
        "best_metric": "ap",
        "desc": "x",
    }
    return run_loop(**{**arguments, **changes})  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_step(tmp_path: Path) -> None:
    """And the state that was saved is one from before."""
    module = tiny_module()

    def loss_at(step: int) -> dict[str, torch.Tensor]:
        loss = module(torch.randn(4, 6)).square().mean()
        return {"good": loss, "bad": loss * (float("nan") if step == 32 else 1.0)}

    with pytest.raises(RunError, match="bad became nan at step 33") as caught:
        _loop(tmp_path / "run", module, loss_at=loss_at)
    assert "--clip-grad-norm" in str(caught.value)
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] == 30
    assert all(torch.isfinite(value).all() for value in state["module"].values())


def test_without_evaluation_there_is_no_best(tmp_path: Path) -> None:
    """Only the last weights are written."""
    assert _loop(tmp_path / "run", tiny_module()) == {}
    assert (tmp_path / "run" / "last.safetensors").exists()
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_a_first_metric_of_nan_does_not_stay_the_best(tmp_path: Path) -> None:
    """No AP yet is worse than any."""
    values = iter([float("nan"), 1.0, 0.5, float("nan"), 0.7])
    _loop(tmp_path / "run", tiny_module(), evaluate=lambda _: {"ap": next(values)}, evaluate_every=10)
    assert weights_metadata(tmp_path / "run" / "best.safetensors") == {"step": "20", "ap": "1.0"}


def test_where_nothing_can_be_measured_the_best_weights_are_the_latest(tmp_path: Path) -> None:
    """Val without masks: best must not stay the weights of the first evaluation."""
    _loop(tmp_path / "run", tiny_module(), evaluate=lambda _: {"ap": float("nan")}, evaluate_every=10)
    best, last = (load_weights(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "last"))
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_a_step_is_seeded_by_seed_and_step_alone() -> None:
    """The same pair gives the same numbers, any other pair others."""

    def draw(seed: int, step: int) -> float:
        seed_step(seed, step)
        return float(torch.rand(()))

    assert draw(0, 5) == draw(0, 5)
    assert len({draw(0, 5), draw(0, 6), draw(5, 0), draw(-1, 5)}) == 4


def test_going_on_with_another_number_of_processes_or_another_torch_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither is a setting, and with both the result is not that of a run that never stopped."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(folder, kill_at=33, number=signal.SIGINT)
    path = folder / "run.json"
    content = json.loads(path.read_text())
    assert content["processes"] == 1
    write_json(path, content | {"processes": 4, "versions": content["versions"] | {"torch": "1.0.0"}})
    with caplog.at_level(logging.WARNING, logger="maskx"):
        train(folder)
    assert "began with 4 processes and goes on with 1" in caplog.text
    assert "torchrun --nproc-per-node 4" in caplog.text
    assert "began with PyTorch 1.0.0 and goes on with" in caplog.text


def test_weights_that_are_no_numbers_are_not_saved_as_final(tmp_path: Path) -> None:
    """Though each loss was a number."""
    module = tiny_module()
    with torch.no_grad():
        module[1].running_var[0] = float("inf")
    with pytest.raises(WeightsError, match=r"the weights 1\.running_var are not finite") as caught:
        _loop(tmp_path / "run", module)
    assert "--lr" in str(caught.value)
    assert not (tmp_path / "run" / "last.safetensors").exists()
