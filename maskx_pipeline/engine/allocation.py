"""Freed memory is kept for the next step of training."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

import torch

# Of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
# Where glibc's own thresholds arrive by themselves once a block of 32 MB was freed.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextlib.contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """In the block a CPU's freed memory stays with this process; then the system has back what is free.

    Else glibc hands every large tensor back when it is freed, and the next step waits for the same pages, which the
    system fills with zeros first. Nothing is changed for a GPU, without glibc, or where the environment sets glibc's
    malloc (``MALLOC_...`` or ``GLIBC_TUNABLES``).
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if device.type != "cpu" or chosen or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for parameter, value in _KEEP.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)
