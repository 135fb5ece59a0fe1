"""Errors of PyTorch, NumPy and Python that say that memory has run out."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

_OF_TORCH = (  # what it says in errors that have no class of their own
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Memory that has run out.

    Attributes:
        device: Whose: ``cpu``, ``cuda:N``, or ``cuda`` where the error does not say which.
        said: The error in one line; it may be empty.
    """

    device: str
    said: str

    def __str__(self) -> str:
        place = "this machine" if self.device == "cpu" else self.device
        return f"The memory of {place} is full{f': {self.said}' if self.said else '.'}"


def out_of_memory(error: BaseException) -> OutOfMemory | None:
    """What the error says of memory that has run out; None if it is another error."""
    said = str(error).partition("\n")[0]
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not known and not (isinstance(error, RuntimeError) and any(part in said for part in _OF_TORCH)):
        return None
    said = re.sub(r"^\[enforce fail.*?\] err == 0\. ", "", said)
    said = re.sub(r"(?<= is free\.) .*", "", said)  # what follows is of the allocator and its settings
    gpu = re.search(r"\bGPU (\d+)\b", said)
    return OutOfMemory(f"cuda:{gpu[1]}" if gpu else "cuda" if re.search("CUDA|CUBLAS", said) else "cpu", said)
