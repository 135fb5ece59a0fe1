"""Progress of long work: a bar on a terminal, plain lines now and then in a log file."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import Any

from tqdm import tqdm

from maskx_pipeline.engine import distributed

logger = logging.getLogger("maskx")

_LINE_SECONDS = 30.0


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Counts work, as a context manager or until :meth:`close`.

    Args:
        total: Units of the whole work.
        unit: What is counted, such as "images".
        initial: Units that an earlier, interrupted process has done.
    """

    def __init__(self, total: int, desc: str, unit: str, initial: int = 0) -> None:
        self._total, self._desc, self._unit = total, desc, unit
        self._done = self._initial = initial
        self._values: dict[str, Any] = {}
        self._silent = not distributed.is_speaker()
        self._started = self._line_at = time.monotonic()
        self._line_done: int | None = None
        self._bar: Any = None
        if not self._silent and sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=desc, unit=f" {unit}", initial=initial, dynamic_ncols=True, leave=False)

    def update(self, n: int = 1) -> None:
        """Count ``n`` units more."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        elif time.monotonic() - self._line_at >= _LINE_SECONDS:
            self._line()

    def set(self, **values: Any) -> None:
        """Show values, such as the loss, beside the count."""
        self._values.update(values)
        if self._bar is not None:
            self._bar.set_postfix({name: _short(value) for name, value in self._values.items()}, refresh=False)

    def close(self) -> None:
        """Remove the bar and log the last line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._line_done != self._done and self._done > self._initial:
            self._line()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _line(self) -> None:
        self._line_at, self._line_done = time.monotonic(), self._done
        if self._silent:
            return
        seconds = max(self._line_at - self._started, 1e-9)
        rate = (self._done - self._initial) / seconds
        left = (self._total - self._done) / rate if rate > 0 else float("inf")
        time_text = f"{_duration(left)} left" if self._done < self._total else f"took {_duration(seconds)}"
        speed = f"{rate:.3g} {self._unit}/s" if rate >= 1 or rate == 0 else f"{1 / rate:.3g} s/{self._unit}"
        values = "".join(f", {name} {_short(value)}" for name, value in self._values.items())
        logger.info("%s: %d/%d %s, %s, %s%s", self._desc, self._done, self._total, self._unit, speed, time_text, values)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
