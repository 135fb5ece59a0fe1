"""Freed memory is kept for the next step of training."""

from __future__ import annotations

import ctypes
import platform
import resource

import pytest
import torch

from maskx_pipeline.engine.allocation import freed_memory_kept

CPU = torch.device("cpu")
_LARGE = 96 << 20  # bytes; glibc maps and unmaps such a block by itself

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")


@pytest.fixture(autouse=True)
def _no_settings_of_malloc(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


def faults_of_a_large_tensor() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(_LARGE, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@needs_glibc
def test_memory_of_a_freed_tensor_is_used_again() -> None:
    """In the block the same pages serve the next tensor; before and after, each tensor gets its own."""
    usual = faults_of_a_large_tensor()
    with freed_memory_kept(CPU):
        faults = [faults_of_a_large_tensor() for _ in range(20)]  # small blocks split a free one at first
        assert faults[-1] < usual // 4
    faults_of_a_large_tensor()
    assert faults_of_a_large_tensor() > usual // 2


@needs_glibc
def test_an_error_ends_it_too() -> None:
    """What was kept is given back when training stops by an error."""
    usual = faults_of_a_large_tensor()
    with pytest.raises(KeyboardInterrupt), freed_memory_kept(CPU):
        raise KeyboardInterrupt
    faults_of_a_large_tensor()
    assert faults_of_a_large_tensor() > usual // 2


@pytest.mark.parametrize("why", ["gpu", "another libc", "chosen by the user", "chosen as a tunable"])
def test_malloc_is_left_alone_elsewhere(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has an allocator of its own, another libc no mallopt, and what the user has set stays."""

    def refuse(name: object) -> object:
        raise AssertionError("the C library is not asked")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    if why == "another libc":
        monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    elif why == "chosen by the user":
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000000")
    elif why == "chosen as a tunable":
        monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    with freed_memory_kept(torch.device("cuda", 0) if why == "gpu" else CPU):
        pass
