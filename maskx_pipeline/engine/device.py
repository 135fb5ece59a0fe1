"""Which device computes, and in which precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from maskx_pipeline.engine import distributed
from maskx_pipeline.errors import MachineError


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device.

    Under torchrun, ``auto`` and ``cuda`` mean the GPU of this process.

    Raises:
        MachineError: No such device.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    try:
        device = torch.device("cuda" if name == "auto" else name)
    except RuntimeError as error:
        raise MachineError(f"`{name}` is not a device.", "give --device auto, cpu, cuda or cuda:N") from error
    if device.type != "cuda":
        raise MachineError(f"maskx does not compute on `{name}`.", "give --device auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise MachineError("PyTorch finds no CUDA device here.", "give --device cpu, or install PyTorch for CUDA")
    index = distributed.local_rank() if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise MachineError(
            f"`cuda:{index}` does not exist; this machine has {torch.cuda.device_count()} CUDA devices.",
            "give another --device, or start fewer processes",
        )
    return torch.device("cuda", index)


def amp_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The dtype of mixed precision, or None for float32 throughout.

    Args:
        amp: ``off``, ``bf16``, ``fp16``, or ``auto``: bf16 where the device computes it natively.

    Raises:
        MachineError: fp16 was asked for on the CPU.
    """
    if amp == "fp16":
        if device.type != "cuda":
            raise MachineError("fp16 needs a CUDA device.", "give --amp bf16 or --amp off")
        return torch.float16
    if amp == "bf16" or (amp == "auto" and _computes_bf16(device)):
        return torch.bfloat16
    return None


def precision_name(dtype: torch.dtype | None) -> str:
    """``float32``, ``bfloat16`` or ``float16``: what mixed precision in ``dtype``, or None without it, computes in."""
    return str(dtype or torch.float32).removeprefix("torch.")


def autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[None]:
    """Mixed precision in ``dtype``; with None, float32 even inside another autocast."""
    context: contextlib.AbstractContextManager[None] = torch.autocast(
        device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None
    )
    return context


@contextlib.contextmanager
def deterministic(wanted: bool, device: torch.device) -> Iterator[None]:
    """Let a GPU add in a fixed order, so that the same steps give the same bits; a CPU with one thread does anyway."""
    if not wanted or device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    # Read by cuBLAS when it is first used, and by PyTorch's check whenever it is.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
