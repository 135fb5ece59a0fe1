"""Processes that read images die, files may not be opened, images vanish: known errors, and soon."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from faults_world import Zygote, copy_for

from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.data.dataset import DetectionDataset, batches
from maskx_pipeline.engine.faults import known_fault
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.room import no_room

STAGES_THAT_READ = ("detect train", "export-embeddings", "fit-transfer", "evaluate", "predict", "annotate")

MakeData = Callable[..., CocoData]


def _exhaust(found: Iterator[Any]) -> None:
    for _ in found:
        pass


def _batches(make_data: MakeData, workers: int, iterations: int = 2000) -> tuple[CocoData, Iterator[Any]]:
    data = make_data([{"image_id": i} for i in (1, 2, 3, 4)], images=4)
    dataset = DetectionDataset(data, flip_probability=0.5, seed=0)
    return data, batches(dataset, images_per_batch=2, start=0, iterations=iterations, seed=0, workers=workers)


def test_a_killed_worker_is_a_known_error(zygote: Zygote, project: Path, tmp_path: Path) -> None:
    """As the kernel kills one where memory is full."""
    words = copy_for("detect train", project, tmp_path / "copy")
    started = zygote.start(tmp_path / "copy", *words, "--iterations", "5000", "--workers", "1")
    children = Path(f"/proc/{started.process}/task/{started.process}/children")
    began = time.monotonic()
    while not children.read_text().split() and time.monotonic() - began < 60:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    ended = started.wait(60)
    assert ended.code == 1, ended
    assert "a process that reads images was killed" in ended.said
    assert "-> give --workers 0" in ended.said
    assert "Traceback" not in ended.said


def test_batches_of_workers_are_those_without(make_data: MakeData) -> None:
    """They come in one piece of shared memory, and are taken apart again."""
    _, own = _batches(make_data, workers=0, iterations=6)
    _, others = _batches(make_data, workers=1, iterations=6)
    count = 0
    for (images, targets), (same_images, same_targets) in zip(own, others, strict=True):
        count += 1
        assert all(torch.equal(a, b) for a, b in zip(images, same_images, strict=True))
        for target, same in zip(targets, same_targets, strict=True):
            assert target.keys() == same.keys()
            for name, value in target.items():
                equal = torch.equal(value, same[name]) if isinstance(value, torch.Tensor) else value == same[name]
                assert equal, name
    assert count == 6


def test_a_worker_that_is_killed_while_a_file_is_written_is_no_full_disk() -> None:
    """The word of it comes as a signal, into whatever is at work; torch makes another error of that."""
    killed = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    failed = RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")
    failed.__context__ = killed
    assert no_room(failed) is None
    assert "a process that reads images was killed (Killed)" in str(known_fault(failed))
    failed.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert no_room(failed) == errno.ENOSPC
    assert "the disk is full" in str(known_fault(failed))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_while_training_is_named(make_data: MakeData, workers: int) -> None:
    """Not as a traceback of the process that read it."""
    data, found = _batches(make_data, workers)
    next(found)
    data.image_path(3).unlink()
    with pytest.raises(DataError, match=r"3\.png"):
        _exhaust(found)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES_THAT_READ)
@pytest.mark.parametrize("most", [16, 24, 40, 64])
def test_few_open_files(stage: str, most: int, zygote: Zygote, project: Path, tmp_path: Path) -> None:
    """`ulimit -n`: it does without, or says how to allow more."""
    words = copy_for(stage, project, tmp_path / "copy")
    more = ("--workers", "2") if stage in ("detect train", "export-embeddings") else ()
    ended = zygote.run(tmp_path / "copy", *words, *more, seconds=120, RLIMIT_NOFILE=most)
    assert ended.code in (0, 1), ended
    assert "Traceback" not in ended.said
    if ended.code:
        assert "ulimit -n" in ended.said, ended.said
