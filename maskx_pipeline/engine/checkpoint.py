"""Weights as safetensors; resumable training states as torch files that are read without executing anything."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maskx_pipeline.errors import WeightsError, with_article
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.provenance.seals import BLANK, KEY, append_seal, is_sound, seal_file

_METADATA_KEY = "maskx"
_AGAIN = "put back a copy of it, or make it again: the same command with --overwrite, or a new download"


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors to a safetensors file, whole or not at all; the same content gives the same bytes."""
    # safetensors writes several metadata entries in a random order, so ours are one entry.
    entry = {_METADATA_KEY: json.dumps({**metadata, KEY: BLANK}, sort_keys=True)}
    plain = {name: _plain(tensor) for name, tensor in tensors.items()}
    with atomic_path(path, needed=_bytes_of(plain)) as temporary:
        save_file(plain, temporary, entry)
        seal_file(temporary)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file into CPU memory.

    Raises:
        WeightsError: The file is missing or damaged, or a value in it is not finite.
    """
    _check_sound(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}", _AGAIN) from error
    check_finite(tensors, what=str(path), hint=_AGAIN)
    return tensors


def check_finite(tensors: Mapping[str, Tensor], *, what: str, hint: str) -> None:
    """Check that all weights are numbers.

    Args:
        what: Of which model they are, for the message.

    Raises:
        WeightsError: One is NaN or infinite.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(f"{what}: the weights {name} are not finite numbers.", hint)


def sha256_of_weights(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of names, dtypes, shapes and values; the order of the names does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = _plain(tensors[name])
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested tensors, numbers, texts, lists and dicts, whole or not at all."""
    with atomic_path(path, needed=_bytes_of(state)) as temporary:
        with temporary.open("wb") as stream:  # a file of Python's own, whose errors say why, which torch's do not
            torch.save(dict(state), stream)
        append_seal(temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, or another torch file of tensors, into CPU memory.

    Raises:
        WeightsError: The file is missing or damaged, holds objects that would have to be executed, or weights that are
            not finite.
    """
    _check_sound(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged, or holds more than tensors, so it was not loaded.",
            "save it as safetensors, or as a plain state dict",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is not a whole torch file: {error}", _AGAIN) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"{path} holds {with_article(type(state).__name__)}, not named tensors.", "save it as a state dict"
        )
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    check_finite(tensors, what=str(path), hint=_AGAIN)
    return state


def _bytes_of(value: Any) -> int:
    """Of the tensors in nested dicts and lists, which are nearly all of a file."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    return sum(map(_bytes_of, value)) if isinstance(value, list | tuple) else 0


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _check_sound(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.")
    if is_sound(path) is False:
        raise WeightsError(f"{path} is damaged: its content is not what was written, by its seal.", _AGAIN)
