"""Weights and states: written whole, read without executing anything."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from tiny_training import weights_metadata

from maskx_pipeline.engine.checkpoint import (
    load_state,
    load_weights,
    save_state,
    save_weights,
    sha256_of_weights,
)
from maskx_pipeline.errors import WeightsError


def test_weights_come_back_with_their_metadata(tmp_path: Path) -> None:
    """Also tensors that share memory, are not contiguous, or are bfloat16."""
    base = torch.arange(12.0).view(3, 4)
    tensors = {"a": base, "b": base.t(), "c": base.to(torch.bfloat16), "n": torch.tensor(3)}
    save_weights(tmp_path / "w.safetensors", tensors, {"step": "7"})
    loaded = load_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert weights_metadata(tmp_path / "w.safetensors") == {"step": "7"}
    assert sha256_of_weights(loaded) == sha256_of_weights(tensors)


def test_the_digest_sees_names_shapes_and_single_bits() -> None:
    """Two sets of weights have one digest only if they are the same."""
    weights = {"a": torch.zeros(4), "b": torch.ones(2)}
    digest = sha256_of_weights(weights)
    assert digest == sha256_of_weights(dict(reversed(weights.items())))
    others = [
        {"a": torch.zeros(2, 2), "b": torch.ones(2)},
        {"a": torch.zeros(4), "c": torch.ones(2)},
        {"a": torch.zeros(4), "b": torch.nextafter(torch.ones(2), torch.zeros(2))},
    ]
    assert digest not in {sha256_of_weights(other) for other in others}


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    """Nested tensors, numbers and None."""
    state = {"step": 3, "best": None, "optimizer": {"state": {0: {"m": torch.ones(2)}}}, "window": [[1.0]]}
    save_state(tmp_path / "s.pt", state)
    loaded = load_state(tmp_path / "s.pt")
    assert torch.equal(loaded["optimizer"]["state"][0]["m"], torch.ones(2))
    assert (loaded["step"], loaded["best"], loaded["window"]) == (3, None, [[1.0]])


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_a_torch_file_from_outside_is_never_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 6: an object in the file is refused, not run."""
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Attack()}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(_Attack()))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(WeightsError):
            load_state(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("read", [load_weights, load_state])
def test_missing_and_truncated_files_are_clear_errors(tmp_path: Path, read: object) -> None:
    """Each reader names the file."""
    assert callable(read)
    path = tmp_path / "file"
    with pytest.raises(WeightsError, match="does not exist"):
        read(path)
    if read is load_state:
        save_state(path, {"a": torch.ones(1000)})
    else:
        save_weights(path, {"a": torch.ones(1000)}, {})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="file"):
        read(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_loaded(tmp_path: Path, bad: float) -> None:
    """Of safetensors, and of a torch file from elsewhere; whole numbers and empty tensors are always finite."""
    tensors = {"fine": torch.ones(3), "n": torch.tensor([1, 2]), "none": torch.zeros(0)}
    save_weights(tmp_path / "w.safetensors", tensors, {})
    assert load_weights(tmp_path / "w.safetensors").keys() == tensors.keys()
    tensors["wrong"] = torch.tensor([1.0, bad])
    save_weights(tmp_path / "w.safetensors", tensors, {})
    torch.save(tensors, tmp_path / "w.pt")
    for read, name in ((load_weights, "w.safetensors"), (load_state, "w.pt")):
        with pytest.raises(WeightsError, match="the weights wrong are not finite numbers") as caught:
            read(tmp_path / name)
        assert caught.value.hint


def test_one_flipped_bit_in_weights_or_a_state_is_refused(tmp_path: Path) -> None:
    """With the file, and how to make it again."""
    save_weights(tmp_path / "w.safetensors", {"a": torch.ones(100)}, {})
    save_state(tmp_path / "state.pt", {"a": torch.ones(100)})
    for read, name in ((load_weights, "w.safetensors"), (load_state, "state.pt")):
        raw = bytearray((tmp_path / name).read_bytes())
        raw[raw.index(b"\x00\x00\x80\x3f") + 80] ^= 1
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(WeightsError, match=f"{name} is damaged") as caught:
            read(tmp_path / name)
        assert "--overwrite" in str(caught.value)
