"""torchrun on a GPU, NCCL under the gradients, and a GPU whose memory is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gpu_world import CHECKOUT, DEVICE, difference, maskx

NCCL = """
import torch
from unittest import mock
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import resolve_device

torch.cuda.set_device(distributed.local_rank())
torch.distributed.init_process_group("cpu:gloo,cuda:nccl")
device = resolve_device("auto")
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 3)).to(device)
with mock.patch.object(distributed, "world_size", lambda: 2):
    wrapped = distributed.wrap(module, device)
assert type(wrapped).__name__ == "DistributedDataParallel"
image = torch.rand(2, 3, 32, 32, device=device)
gradients = []
for called in (module, wrapped):
    module.zero_grad()
    called(image).square().sum().backward()
    gradients.append([p.grad.clone() for p in module.parameters()])
assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(*gradients))
assert distributed.on_main(lambda: {"answer": 42}) == {"answer": 42}
assert distributed.any_process(True) and not distributed.any_process(False)
distributed.barrier()
total = torch.ones(1, device=device)
torch.distributed.all_reduce(total)
assert total.item() == 1
distributed.stop()
print("NCCL", torch.cuda.nccl.version())
"""


def torchrun(*words: str, processes: int = 1, folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=140,
    )


@pytest.mark.skipif(DEVICE != "cuda", reason="needs CUDA")
def test_gradients_go_through_nccl(tmp_path: Path, measured: Callable[[str], None]) -> None:
    """With what joins the processes of `detect train` and `e2e`, in a group of one."""
    (tmp_path / "one.py").write_text(NCCL)
    done = torchrun(str(tmp_path / "one.py"), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    measured(done.stdout.strip())


def test_torchrun_trains_what_one_process_trains(
    project: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    options = ("detect", "train", "--iterations", "3", "--workers", "0")
    done = torchrun("-m", "maskx_pipeline", *options, "--out", str(tmp_path / "torchrun"), folder=project)
    assert done.returncode == 0, done.stdout + done.stderr
    maskx(project, *options, "--out", str(tmp_path / "alone"))
    off = difference(tmp_path / "torchrun/last.safetensors", tmp_path / "alone/last.safetensors")
    measured(f"weights differ by {off:.2g}")
    assert off < 0.05


@pytest.mark.skipif(DEVICE != "cuda", reason="needs CUDA")
def test_more_processes_than_gpus_is_a_known_error(project: Path, tmp_path: Path) -> None:
    count = torch.cuda.device_count() + 1
    words = ("detect", "train", "--images-per-batch", str(count), "--out", str(tmp_path / "out"))
    done = torchrun("-m", "maskx_pipeline", *words, processes=count, folder=project)
    assert done.returncode != 0
    assert "start fewer processes" in done.stderr


@pytest.mark.skipif(DEVICE != "cuda", reason="needs CUDA")
def test_a_full_gpu_is_a_known_error_with_a_hint(
    project: Path, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """This process may have 300 MiB, and images of 2000 pixels need more."""
    share = 300 * 2**20 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        words = ("detect", "train", "--min-size", "2000", "--max-size", "2000", "--out", str(tmp_path / "detector"))
        error = maskx(project, *words, "--workers", "0", code=1).stderr
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    said, hint = error.strip().splitlines()[-2:]
    measured(said)
    assert said.startswith("Error: The memory of cuda:0 is full: CUDA out of memory.")
    assert "give fewer --images-per-batch" in hint
    maskx(project, "detect", "train", "--iterations", "2", "--workers", "0", "--out", str(tmp_path / "after"))
