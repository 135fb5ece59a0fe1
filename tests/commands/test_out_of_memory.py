"""Memory that has run out is a known error, which says whose memory and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from maskx_pipeline.commands import run
from maskx_pipeline.project import PROJECT_FILE
from maskx_pipeline.provenance.files import write_text

GPU = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 79.10 GiB of which 1.06 GiB is "
    "free. Including non-PyTorch memory, this process has 78.03 GiB memory in use. If reserved but unallocated memory "
    "is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
KERNEL = RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With what commands look for before they begin."""
    (tmp_path / PROJECT_FILE).write_text("")
    for name in ("train.json", "val.json", "train/", "val/"):
        path = tmp_path / "data" / name
        path.mkdir(parents=True) if name.endswith("/") else write_text(path, "")
    for name in ("cache.h5", "detector/run.json", "transfer/cls/run.json"):
        write_text(tmp_path / "runs" / name, "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _fail_with(monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException) -> None:
    def fail(*arguments: object, **options: object) -> NoReturn:
        raise error

    monkeypatch.setattr(f"maskx_pipeline.stages.{stage}", fail)


@pytest.mark.parametrize(
    ("command", "stage", "hint"),
    [
        (
            "detect train",
            "detect_train.train_detector",
            "give fewer --images-per-batch, another --device, or end other",
        ),
        ("e2e --lr 0.1", "e2e.train_e2e", "give fewer --images-per-batch, another --device, or end other"),
        (
            "fit-transfer --embedding cls",
            "fit_transfer.fit_transfer",
            "give --cache-in disk, fewer --rois-per-batch, another --device, or end other",
        ),
        ("evaluate", "evaluate.evaluate", "give another --device, or end other"),
        ("doctor", "doctor.check_data", "-> end other programs that use it"),
    ],
)
def test_a_full_gpu_is_named_with_the_options_that_the_command_has(
    command: str,
    stage: str,
    hint: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line, of what torch says, without its advice on its allocator."""
    _fail_with(monkeypatch, stage, GPU)
    assert run(command.split()) == 1
    error, advice = capsys.readouterr().err.splitlines()
    assert error == (
        "Error: The memory of cuda:1 is full: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total "
        "capacity of 79.10 GiB of which 1.06 GiB is free."
    )
    assert hint in advice


def test_torch_finds_the_gpu_full_in_other_words(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where another process fills it, before torch has any memory of its own."""
    _fail_with(monkeypatch, "detect_train.train_detector", KERNEL)
    assert run(["detect", "train"]) == 1
    assert "The memory of cuda is full: CUDA error: out of memory\n" in capsys.readouterr().err


def _of_torch() -> None:
    torch.empty(10**16)


def _of_numpy() -> None:
    np.empty(10**16)


def _of_python() -> None:
    bytearray(10**17)


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (_of_torch, "is full: DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        (_of_numpy, "is full: Unable to allocate 71.1 PiB for an array"),
        (_of_python, "is full.\n"),
    ],
)
def test_so_is_the_memory_of_the_machine(
    allocate: Callable[[], None],
    said: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As torch, NumPy and Python really say it."""
    monkeypatch.setattr("maskx_pipeline.stages.detect_train.train_detector", lambda *arguments, **options: allocate())
    assert run(["detect", "train"]) == 1
    message = capsys.readouterr().err
    assert "The memory of this machine " + said in message
    assert "give fewer --images-per-batch, fewer --workers, or end other programs" in message
    assert "--device" not in message


def test_other_errors_keep_their_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are bugs, to be reported."""
    _fail_with(monkeypatch, "detect_train.train_detector", RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        run(["detect", "train"])


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["--images-per-batch", "1"], "give a smaller --min-size and --max-size, another --device, or end"),
        (["--images-per-batch", "2"], "give fewer --images-per-batch, another --device, or end"),
        (["--images-per-batch", "4"], "give a smaller --min-size and --max-size, another --device, or end"),
    ],
)
def test_what_is_lowest_already_is_not_advised(
    given: list[str], hint: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One image a batch cannot be fewer, nor 4 where 4 processes share them; smaller images are left."""
    if given[-1] == "4":
        monkeypatch.setenv("WORLD_SIZE", "4")
    _fail_with(monkeypatch, "detect_train.train_detector", GPU)
    assert run(["detect", "train", *given]) == 1
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["--images-per-batch", "1", "--workers", "0"], "give a smaller --min-size and --max-size, or end other"),
        (["--images-per-batch", "2", "--workers", "0"], "give fewer --images-per-batch, or end other"),
    ],
)
def test_no_fewer_workers_than_none(
    given: list[str], hint: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the machine's own memory."""
    _fail_with(monkeypatch, "detect_train.train_detector", MemoryError())
    assert run(["detect", "train", *given]) == 1
    assert hint in capsys.readouterr().err
