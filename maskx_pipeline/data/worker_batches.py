"""What a process that reads images hands over: a batch in one piece of shared memory, so that it is one open file."""

from __future__ import annotations

import contextlib
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from maskx_pipeline.engine.faults import is_too_many_files, shared_memory_full, too_many_files
from maskx_pipeline.errors import MaskXError

_ALIGNED = 16  # bytes: any number may begin there
_SPARE_FILES = 8  # for the thread that sends a batch: it cannot report that it finds none

Item = tuple[Tensor, dict[str, Any]]


class _Place(NamedTuple):
    """A tensor in the piece."""

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def pack(items: list[Item | MaskXError]) -> Any:
    """Put what a worker read into shared memory here: the thread that would do it later cannot report an error.

    Args:
        items: Images and targets; an error in place of what could not be read.

    Returns:
        What `unpack` takes; the items themselves where no worker is at work.
    """
    sound = [item for item in items if not isinstance(item, MaskXError)]
    if get_worker_info() is None or len(sound) < len(items):
        return items
    try:
        size = 0
        tensors: list[tuple[_Place, Tensor]] = []

        def place(value: Any) -> Any:
            nonlocal size
            if not isinstance(value, Tensor):
                return value
            taken = _Place(size, tuple(value.shape), value.dtype)
            tensors.append((taken, value))
            size += -(-value.nbytes // _ALIGNED) * _ALIGNED
            return taken

        layout = [(place(image), {name: place(value) for name, value in target.items()}) for image, target in sound]
        piece = torch.empty(size, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        for taken, value in tensors:
            _view(piece, taken).copy_(value)
        _check_files()
    except (RuntimeError, OSError) as error:
        return [too_many_files() if is_too_many_files(error) else shared_memory_full(str(error).splitlines()[0])]
    return piece, layout


def unpack(batch: Any) -> list[Item]:
    """The items of a batch, as views of its piece of memory.

    Raises:
        MaskXError: One of them could not be read.
    """
    if isinstance(batch, list):
        for item in batch:
            if isinstance(item, MaskXError):
                raise item
        return batch
    piece, layout = batch

    def taken(value: Any) -> Any:
        return _view(piece, value) if isinstance(value, _Place) else value

    return [(taken(image), {name: taken(value) for name, value in target.items()}) for image, target in layout]


def _view(piece: Tensor, place: _Place) -> Tensor:
    count = place.dtype.itemsize
    for side in place.shape:
        count *= side
    return piece[place.start : place.start + count].view(place.dtype).view(place.shape)


def _check_files() -> None:
    """That more files may be opened, as sending needs."""
    with contextlib.ExitStack() as stack:
        for _ in range(_SPARE_FILES):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
