"""Two ways of doing the same, timed in turns in one process: what every speed claim here is measured with."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torchvision


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds per call, one entry a repetition; ``ours[i]`` and ``reference[i]`` ran one after the other."""

    ours: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as fast as the reference: the median over the pairs."""
        return statistics.median(b / a for a, b in zip(self.ours, self.reference, strict=True))

    def cells(self, *, unit: float = 1e3, each: int = 1) -> list[str]:
        """Median of ours, of the reference, and the ratio, as text; milliseconds for ``unit`` 1e3, per ``each``."""
        ours, reference = (statistics.median(times) * unit / each for times in (self.ours, self.reference))
        return [f"{ours:.3g}", f"{reference:.3g}", f"{self.ratio:.2f}x"]


def side_by_side(
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    repeats: int = 7,
    warm_up: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Call both in turns, so that what else the machine does falls on both.

    Args:
        clock: `time.process_time` counts what this process computes, in all its threads, and not what it waits for.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(warm_up + repeats):
        for call, found in zip((ours, reference), times, strict=True):
            began = clock()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= warm_up:
                found.append(clock() - began)
    return Measured(tuple(times[0]), tuple(times[1]))


def print_machine() -> None:
    """The line under which every table stands: versions and threads."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    print(
        f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s); Python {platform.python_version()}, "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, numpy {np.__version__}\n"
    )


def print_table(header: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown, each row as it comes; all but the first column are numbers."""
    print(f"| {' | '.join(header)} |\n| --- {'| ---: ' * (len(header) - 1)}|", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
