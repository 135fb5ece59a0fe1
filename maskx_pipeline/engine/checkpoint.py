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

_METADATA_KEY = "maskx"


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors to a safetensors file, whole or not at all; the same content gives the same bytes."""
    # safetensors writes several metadata entries in a random order, so ours are one entry.
    entry = {_METADATA_KEY: json.dumps(dict(metadata), sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file({name: _plain(tensor) for name, tensor in tensors.items()}, temporary, entry)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file into CPU memory.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    _check_exists(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}", "write it again") from error


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
    with atomic_path(path) as temporary:
        torch.save(dict(state), temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, or another torch file of tensors, into CPU memory.

    Raises:
        WeightsError: The file is missing or damaged, or holds objects that would have to be executed.
    """
    _check_exists(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged, or holds more than tensors, so it was not loaded.",
            "save it as safetensors, or as a plain state dict",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a whole torch file: {error}", "write it again") from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"{path} holds {with_article(type(state).__name__)}, not named tensors.", "save it as a state dict"
        )
    return state


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist.")
