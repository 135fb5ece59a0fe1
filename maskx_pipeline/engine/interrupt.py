"""Ctrl-C that waits until a step is done."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any, Self

logger = logging.getLogger("maskx")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredInterrupt:
    """While this context is open, the first SIGINT or SIGTERM only sets ``asked``; a second one interrupts at once.

    Outside the main thread, where signals cannot be caught, it does nothing.
    """

    def __init__(self) -> None:
        self.asked = False
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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that reads images, forked from ours
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.info("Stopping after this step; once more stops at once, without saving.")
