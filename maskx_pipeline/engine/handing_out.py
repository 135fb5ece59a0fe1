"""Long pieces of work, each for one process alone: whoever is free takes the next, and all get the results of all.

The counter of what is taken is in the store in which the processes met, so it works between machines too. The main
process hears from each other one by a thread that waits for it, and each other one from the main process in the same
way. So all know within seconds that one has failed, was interrupted or is dead, though each works by itself.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.messages import parts_of, receive

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TAG = 1  # results that are handed over in the order of the items have 0
_LONG = datetime.timedelta(days=365)  # the next message comes when a piece of work is done, and none is too long

_SECONDS = 1.0  # for those that end to say so

_rounds = itertools.count()  # all processes go through the same ones


class _Message(NamedTuple):
    """From another process to the main one a result, or that there are no more; from the main one the results of all.

    Attributes:
        error: In place of it, why that process ends.
        last: Nothing follows.
    """

    results: dict[int, Any]
    error: BaseException | None = None
    last: bool = False


def handed_out(items: Sequence[_Item], work: Callable[[_Item], _Result]) -> Iterator[tuple[_Item, _Result]]:
    """Hand items to the processes one by one; all get every result, the main one as soon as it knows of it.

    All processes must go through the iterator with the same items: that is when they work.

    Args:
        work: Done by one process for itself, as :func:`distributed.alone` has it; results are pickled on their way.

    Raises:
        Exception: Of the work of any process. All end with it, each after the step that it was at.
        KeyboardInterrupt: One was interrupted, and so all are.
    """
    distributed.start()
    if distributed.world_size() == 1:
        yield from ((item, work(item)) for item in items)
        return
    import torch.distributed as dist

    share = _as_main if distributed.is_main() else _as_other
    yield from ((items[index], result) for index, result in share(dist, _Taken(dist, len(items)), items, work))


class _Taken:
    """The indices that nobody has taken yet."""

    def __init__(self, dist: ModuleType, count: int) -> None:
        self._store = dist.distributed_c10d._get_default_store()
        self._key, self._count = f"handed out {next(_rounds)}", count

    def next(self) -> int | None:
        """One of them; None where there is none."""
        try:
            index = int(self._store.add(self._key, 1)) - 1
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error  # who kept the store has ended
        return index if index < self._count else None


class _Lines:
    """What other processes say, each heard by a thread, so that the main thread can work and be interrupted."""

    def __init__(self, dist: ModuleType, ranks: Iterable[int]) -> None:
        self._dist, self._messages = dist, queue.SimpleQueue[_Message]()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._hear, args=(rank,), daemon=True) for rank in ranks]
        for thread in self._threads:
            thread.start()

    def is_over(self) -> bool:
        """Whether somebody has ended before the work was done."""
        return self._ended.is_set()

    def check(self) -> None:
        """Raise the error with which somebody has ended."""
        if self.is_over():
            for _ in self.there():
                pass

    def next(self) -> _Message:
        """Wait for the next message, or raise the error in it."""
        message = self._messages.get()
        if message.error is not None:
            raise message.error
        return message

    def there(self) -> Iterator[_Message]:
        """The messages that have come."""
        while not self._messages.empty():
            yield self.next()

    def close(self) -> None:
        """Wait until all have sent their last message."""
        for thread in self._threads:
            thread.join()

    def _hear(self, rank: int) -> None:
        message = _Message({})
        while not message.last and message.error is None:
            try:
                message = receive(self._dist, rank, tag=_TAG, timeout=_LONG)
            except Exception as error:  # that process is dead, whose connection is closed
                message = _Message({}, RuntimeError(str(error)))
            self._messages.put(message)
            if message.error is not None:
                self._ended.set()


def _as_main(
    dist: ModuleType, taken: _Taken, items: Sequence[_Item], work: Callable[[_Item], _Result]
) -> Iterator[tuple[int, _Result]]:
    others = range(1, distributed.world_size())
    lines, found = _Lines(dist, others), dict[int, _Result]()

    def new(results: dict[int, _Result]) -> Iterator[tuple[int, _Result]]:
        found.update(results)
        yield from results.items()

    try:
        for index, result in _own(taken, items, work, lines):
            yield from new({index: result})
            for message in lines.there():
                yield from new(message.results)
        while len(found) < len(items):
            yield from new(lines.next().results)
        _tell(dist, others, _Message(found, last=True))
    except BaseException as error:
        _tell_before_ending(dist, others, KeyboardInterrupt() if isinstance(error, GeneratorExit) else error)
        raise
    lines.close()


def _as_other(
    dist: ModuleType, taken: _Taken, items: Sequence[_Item], work: Callable[[_Item], _Result]
) -> Iterator[tuple[int, _Result]]:
    lines = _Lines(dist, [0])
    try:
        for index, result in _own(taken, items, work, lines):
            _tell(dist, [0], _Message({index: result}))
        answer = lines.next()
        _tell(dist, [0], _Message({}, last=True))
    except BaseException as error:
        if not lines.is_over():
            _tell_before_ending(dist, [0], error)
        raise
    lines.close()
    yield from sorted(answer.results.items())


def _own(
    taken: _Taken, items: Sequence[_Item], work: Callable[[_Item], _Result], lines: _Lines
) -> Iterator[tuple[int, _Result]]:
    """What this process takes and makes, until nothing is left; where another one ends, its error."""
    while (index := taken.next()) is not None:
        try:
            with distributed.alone(lines.is_over):
                result = work(items[index])
        except KeyboardInterrupt:
            lines.check()
            raise
        yield index, result
        lines.check()


def _tell(dist: ModuleType, ranks: Iterable[int], message: _Message) -> None:
    parts = parts_of(message)
    for rank in ranks:
        for part in parts:
            dist.send(part, dst=rank, tag=_TAG)


def _tell_before_ending(dist: ModuleType, ranks: Iterable[int], error: BaseException) -> None:
    """Say why this process ends to those that hear it within a second; others are dead, or see it end."""

    def tell(rank: int) -> None:
        with contextlib.suppress(RuntimeError):
            _tell(dist, [rank], _Message({}, error))

    threads = [threading.Thread(target=tell, args=(rank,), daemon=True) for rank in ranks]
    until = time.monotonic() + _SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
