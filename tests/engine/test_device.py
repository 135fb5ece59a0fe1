"""Devices and mixed precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskx_pipeline.config import DetectConfig, E2EConfig, ExportConfig, TransferConfig
from maskx_pipeline.engine.device import amp_dtype, autocast, resolve_device
from maskx_pipeline.errors import MachineError

_CPU = torch.device("cpu")


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CUDA, auto is the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == _CPU
    assert resolve_device("cpu") == _CPU


def test_torchrun_gives_each_process_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """auto and cuda mean the local rank's GPU; a number is taken as it is; one too high is an error."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda", 1)
    assert resolve_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(MachineError, match="cuda:2"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu", "mps"])
def test_a_device_that_is_absent_or_unknown_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never falls back to the CPU silently."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MachineError) as caught:
        resolve_device(name)
    assert "--device" in str(caught.value)


def test_amp_names_become_dtypes() -> None:
    """fp16 needs a GPU; auto is bf16 or nothing."""
    assert amp_dtype("off", _CPU) is None
    assert amp_dtype("bf16", _CPU) is torch.bfloat16
    assert amp_dtype("auto", _CPU) in (None, torch.bfloat16)
    with pytest.raises(MachineError, match="fp16"):
        amp_dtype("fp16", _CPU)


@pytest.mark.parametrize(
    ("flags", "dtype"), [("avx2 avx512f", None), ("avx512f avx512_bf16", torch.bfloat16), ("amx_bf16", torch.bfloat16)]
)
def test_bf16_is_the_default_where_the_cpu_computes_it(
    flags: str, dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it would be imitated, slower than float32. A model is used as it was made, so `predict` does it too."""
    monkeypatch.setattr(Path, "read_text", lambda path, **_: f"flags\t\t: fpu sse2 {flags}\n")
    for config in (DetectConfig(), ExportConfig(), TransferConfig(), E2EConfig()):
        assert amp_dtype(config.amp, _CPU) is dtype


def test_autocast_none_switches_an_outer_autocast_off() -> None:
    """float32 means float32."""
    x = torch.ones(2, 2)
    with autocast(_CPU, torch.bfloat16):
        assert (x @ x).dtype is torch.bfloat16
        with autocast(_CPU, None):
            assert (x @ x).dtype is torch.float32
