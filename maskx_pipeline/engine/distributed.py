"""Several processes started by torchrun: gloo on the CPU, NCCL on CUDA. With one process everything is a no-op.

Where there is one process, torch is not imported: commands that need none ask here who prints.
"""

from __future__ import annotations

import atexit
import datetime
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

_T = TypeVar("_T")

# The main process evaluates alone while the others wait, which on COCO takes longer than the 10 minutes of NCCL.
_TIMEOUT = datetime.timedelta(hours=6)


def start() -> None:
    """Join the process group that torchrun describes in the environment; harmless if called again or without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _group() is not None:
        return
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        if local_rank() < torch.cuda.device_count():  # else --device cpu is meant, or resolve_device says what is wrong
            torch.cuda.set_device(local_rank())
    dist.init_process_group(backend, timeout=_TIMEOUT)
    atexit.register(stop)


def stop() -> None:
    """Leave the process group."""
    group = _group()
    if group is not None:
        group.destroy_process_group()


def _group() -> ModuleType | None:
    """``torch.distributed`` where this process has joined a group."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_initialized() else None


def rank() -> int:
    """The number of this process, from 0."""
    group = _group()
    return 0 if group is None else int(group.get_rank())


def local_rank() -> int:
    """The number of this process on its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """The number of processes."""
    group = _group()
    return 1 if group is None else int(group.get_world_size())


def is_main() -> bool:
    """Whether this process writes files and talks to the user."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process has come here."""
    group = _group()
    if group is not None:
        group.barrier()


def any_process(asked: bool) -> bool:
    """Whether any process says so; all must call it, and all get the same answer."""
    group = _group()
    if group is None:
        return asked
    import torch

    said = torch.tensor(int(asked))
    group.all_reduce(said, op=group.ReduceOp.MAX)  # on the CPU, by gloo, so that no GPU is waited for
    return bool(said)


def on_main(function: Callable[[], _T]) -> _T:
    """Call ``function`` in the main process only, and give every process its result or its exception."""
    start()
    group = _group()
    if group is None:
        return function()
    outcome: list[Any] = [None, None]
    if is_main():
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    group.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: _T = outcome[0]
    return result


def wrap(module: nn.Module, device: torch.device) -> nn.Module:
    """The module whose gradients are averaged over all processes; the module itself if there is only one."""
    if world_size() == 1:
        return module
    from torch import nn

    return nn.parallel.DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)
