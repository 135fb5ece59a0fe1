"""Signals that end a process: Ctrl-C, which waits until a step is done, and SIGTERM, which waits for seconds only."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

logger = logging.getLogger("maskx")

GRACE_SECONDS = 3.5
"""After SIGTERM, what is not done by then is not saved: who sent it will soon send SIGKILL."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


_received: set[int] = set()


def received() -> int | None:
    """The signal that ended this process's work: SIGTERM where both have come; None where none has."""
    return max(_received, default=None)


def forget() -> None:
    """Begin anew: another command runs in this process."""
    _received.clear()


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """In the block, SIGINT raises KeyboardInterrupt and SIGTERM `Terminated`; that ends the process within seconds.

    It is for the main thread of a process that ends after the block: then nothing is left to do, and a signal ends it
    at once. A signal that is ignored stays so.
    """
    process = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a process that reads images, forked from ours
            _end_child(number)
            return
        again = number in _received
        _note(number)
        if not again:  # the first one is on its way already, and a second would tear its clean-up
            raise _error_of(number)

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, before in previous.items():
        if before is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, before in previous.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, lambda number, frame: os._exit(128 + number))


class DeferredInterrupt:
    """While this context is open, the first SIGINT or SIGTERM only sets ``asked``; a second SIGINT interrupts at once.

    After a SIGTERM the process is ended in `GRACE_SECONDS` wherever it is. Outside the main thread, where signals
    cannot be caught, this does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._number = int(signal.SIGINT)
        self._process = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def error(self) -> KeyboardInterrupt:
        """What to raise when what could not be left is done."""
        return _error_of(self._number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that reads images, forked from ours
            _end_child(number)
            return
        _note(number)
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        self._number = max(number, self._number)
        logger.info("Stopping after this step; once more stops at once, without saving.")


def _error_of(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _end_child(number: int) -> None:
    if number == signal.SIGTERM:
        os._exit(128 + number)


def _note(number: int) -> None:
    if number == signal.SIGTERM and number not in _received:
        timer = threading.Timer(GRACE_SECONDS, _end)
        timer.daemon = True
        timer.start()
    _received.add(number)


def _end() -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("Ended in the midst of a step. The same command goes on from what was saved before.\n")
        sys.stderr.flush()
    os._exit(128 + signal.SIGTERM)
