"""Values of Python from one process to another of the same group, by gloo on the CPU."""

from __future__ import annotations

import datetime
import pickle
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def parts_of(value: Any) -> tuple[Tensor, Tensor]:
    """The two tensors that are sent for a value, one after the other: the size of the second, and the value."""
    import torch

    content = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
    return torch.tensor([len(content)]), content


def receive(dist: ModuleType, rank: int, *, tag: int = 0, timeout: datetime.timedelta | None = None) -> Any:
    """Wait for the next value that another process sends.

    Args:
        dist: ``torch.distributed``.
        timeout: The longest that each part may take; that of the group if not given.

    Raises:
        RuntimeError: That process has ended.
    """
    import torch

    limit = () if timeout is None else (timeout,)
    size = torch.empty(1, dtype=torch.int64)
    dist.irecv(size, src=rank, tag=tag).wait(*limit)
    content = torch.empty(int(size), dtype=torch.uint8)
    dist.irecv(content, src=rank, tag=tag).wait(*limit)
    return pickle.loads(content.numpy().tobytes())
