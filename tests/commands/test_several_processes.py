"""Commands that share nothing, where torchrun has started several processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from maskx_pipeline.commands import run


@pytest.mark.parametrize(("rank", "code"), [("0", 2), ("1", 0)])
def test_the_main_process_alone_does_it(
    rank: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits for no other, and what is wrong is said once."""
    for name, value in {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--shapes", "--shapes-train-count", "2", "--shapes-val-count", "2"]) == 0
    assert (tmp_path / "maskx.toml").exists() == (rank == "0")
    assert run(["compare", "nothing"]) == code
    said = capsys.readouterr()
    assert bool(said.out) == bool(said.err) == (rank == "0")
    dist = sys.modules.get("torch.distributed")
    assert dist is None or not dist.is_initialized()
