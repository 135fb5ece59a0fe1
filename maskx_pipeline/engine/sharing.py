"""Work on many things, shared out to the processes that torchrun started, with the results in the order of one process.

Where there is one process, it does the work itself and torch is not imported.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.messages import parts_of, receive
from maskx_pipeline.engine.progress import Progress

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 64  # results that a process may have made before the main one takes them


def shared_out(
    items: Sequence[_Item], work: Callable[[Sequence[_Item]], Iterable[_Result]], *, block: int = 1
) -> Generator[_Result, None, None]:
    """Share items out to all processes; the main one gets the results in the order of the items, the others get none.

    All processes must go through the iterator with the same items: that is when they work. The main process takes a
    result when its turn comes, so that it can be written before the next.

    Args:
        work: From some of the items, in order, to a result for each; results are pickled on their way.
        block: So many items, one after the other, go to the same process.

    Yields:
        In the main process, or where it is alone, each result; nothing in the others.
    """
    distributed.start()
    count, here = distributed.world_size(), distributed.rank()
    if count == 1:
        yield from work(items)
        return
    owners = [index // block % count for index in range(len(items))]
    mine = work([item for item, owner in zip(items, owners, strict=True) if owner == here])
    import torch.distributed as dist

    if here == 0:
        own = iter(mine)
        for owner in owners:
            yield next(own) if owner == 0 else _receive(dist, owner)
    else:
        _send_all(dist, mine)


def each_of(
    items: Sequence[_Item], one: Callable[[_Item], _Result], *, desc: str, unit: str = "images"
) -> Iterator[_Result]:
    """As :func:`shared_out` of a function of one item, with a progress bar."""
    with Progress(len(items), desc, unit) as bar:
        for result in shared_out(items, lambda some: map(one, some)):
            yield result
            bar.update(1)


@contextlib.contextmanager
def by_main(lock: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    """Enter a context in the main process alone, while the block runs in all; an error at its entrance is all's."""
    with contextlib.ExitStack() as stack:

        def enter() -> None:
            stack.enter_context(lock)

        distributed.on_main(enter)
        yield


def _send_all(dist: ModuleType, results: Iterable[Any]) -> None:
    """Hand results to the main process as they are made, and an error in the place of the one it came instead of."""
    waiting: deque[tuple[Any, Any]] = deque()  # the messages on their way, which keep their tensors

    def send(result: Any, error: Exception | None) -> None:
        waiting.extend((dist.isend(part, dst=0), part) for part in parts_of((result, error)))

    def wait(most: int) -> None:
        while len(waiting) > most:
            waiting.popleft()[0].wait()

    try:
        for result in results:
            send(result, None)
            wait(2 * _AHEAD)
    except Exception as error:
        send(None, error)
        wait(0)
        raise
    wait(0)


def _receive(dist: ModuleType, rank: int) -> Any:
    result, error = receive(dist, rank)
    if error is not None:
        raise error
    return result
