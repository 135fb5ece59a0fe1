"""Several processes started by torchrun: gloo on the CPU, NCCL on CUDA. With one process everything is a no-op.

Where there is one process, torch is not imported: commands that need none ask here who prints.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

_T = TypeVar("_T")

# The main process computes AP alone while the others wait, which on large data takes longer than NCCL's 10 minutes.
_TIMEOUT = datetime.timedelta(hours=6)

_alone: Callable[[], bool] | None = None  # in a block of `alone`, what says whether to end


def start() -> None:
    """Join the process group that torchrun describes in the environment; harmless if called again or without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _alone is not None or _joined() is not None:
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
    group = _joined()
    if group is not None:
        group.destroy_process_group()


@contextlib.contextmanager
def alone(end: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """In the block this process works by itself, as one of one, whoever was started beside it.

    Args:
        end: Whether the work is to be broken off; asked where else the processes ask each other, as after each step.
    """
    global _alone
    before, _alone = _alone, end
    try:
        yield
    finally:
        _alone = before


def _joined() -> ModuleType | None:
    """``torch.distributed`` where this process has joined a group."""
    dist = sys.modules.get("torch.distributed")
    return dist if dist is not None and dist.is_initialized() else None


def _group() -> ModuleType | None:
    """The same, but for a process that works alone."""
    return _joined() if _alone is None else None


def is_one_of_several() -> bool:
    """Whether torchrun has started others beside this process, joined to them or not."""
    return world_size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1


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


def local_world_size() -> int:
    """The number of processes on this machine, which share its memory also while each works alone."""
    group = _joined()
    return 1 if group is None else int(os.environ.get("LOCAL_WORLD_SIZE", str(group.get_world_size())))


def is_main() -> bool:
    """Whether this process writes files."""
    return rank() == 0


def is_speaker() -> bool:
    """Whether this process talks to the user: of several the main one, also while each works alone."""
    group = _joined()
    return group is None or int(group.get_rank()) == 0


def barrier() -> None:
    """Wait until every process has come here."""
    group = _group()
    if group is not None:
        group.barrier()


def any_process(asked: bool) -> bool:
    """Whether any process says so; all must call it, and all get the same answer."""
    group = _group()
    if group is None:
        return asked or (_alone is not None and _alone())
    import torch

    said = torch.tensor(int(asked))
    group.all_reduce(said, op=group.ReduceOp.MAX)  # on the CPU, by gloo, so that no GPU is waited for
    return bool(said)


def on_main(function: Callable[[], _T]) -> _T:
    """Call ``function`` in the main process only, alone, and give every process its result or its exception."""
    start()
    group = _group()
    if group is None:
        return function()
    outcome: list[Any] = [None, None]
    if is_main():
        try:
            with alone():
                outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    group.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    result: _T = outcome[0]
    return result


def part_of(count: int) -> slice:
    """Which of ``count`` things in a row are this process's; the parts are as equal as may be."""
    return slice(count * rank() // world_size(), count * (rank() + 1) // world_size())


def summed(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, which must all call this; no gradient goes through it."""
    group = _group()
    if group is None:
        return values
    total = values.detach().clone()
    group.all_reduce(total)
    return total


def sum_gradients(module: nn.Module) -> None:
    """Put in the place of each gradient its sum over all processes."""
    if world_size() == 1:
        return
    import torch

    found = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    totals = summed(torch.cat([gradient.reshape(-1) for gradient in found]))
    sizes = [gradient.numel() for gradient in found]
    for gradient, total in zip(found, torch.split(totals, sizes), strict=True):
        gradient.copy_(total.view_as(gradient))


def as_main_has_it(module: nn.Module) -> None:
    """Give the module in every process the weights and buffers that it has in the main process."""
    group = _group()
    if group is not None:
        for values in (*module.parameters(), *module.buffers()):
            group.broadcast(values.detach(), src=0)


def wrap(module: nn.Module, device: torch.device) -> nn.Module:
    """The module whose gradients are averaged over all processes; the module itself if there is only one."""
    if world_size() == 1:
        return module
    from torch import nn

    return nn.parallel.DistributedDataParallel(
        module,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,  # what is sent is the gradient itself, and no copy of it
    )
