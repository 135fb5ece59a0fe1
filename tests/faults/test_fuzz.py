"""Readers are given what nobody wrote: they read it, or say in a known error why not.

`FUZZ_MINUTES=45 FUZZ_SEED=1 pytest -m slow tests/faults/test_fuzz.py -s` goes on for that long, all targets together,
from that seed on, and prints how many inputs were read.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from fuzz_targets import Target, make_targets

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
FIRST = int(os.environ.get("FUZZ_SEED", "1"))
QUICK, SLOW, ROUND = 15, 300, 400
"""Examples of each target: in every test run, in the slow one, and in a round of a longer one."""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    """Each with sound files to begin from."""
    return make_targets(tmp_path_factory.mktemp("fuzz"))


def fuzz(target: Target, examples: int, seed: int) -> int:
    """Read so many inputs; returns how many were read."""
    read = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False,
    )
    @hypothesis.given(target.inputs)
    def one(value: Any) -> None:
        nonlocal read
        read += 1
        target(value)

    one()
    return read


def test_what_nobody_wrote_is_read_or_refused(targets: list[Target]) -> None:
    """A few inputs of each kind, the same in each run."""
    for target in targets:
        fuzz(target, QUICK, seed=0)


@pytest.mark.slow
def test_more_of_what_nobody_wrote_is_read_or_refused(targets: list[Target]) -> None:
    """Other inputs in each round; all finds are shown at the end."""
    counts: Counter[str] = Counter()
    finds: list[str] = []
    end = time.monotonic() + 60 * MINUTES
    number = FIRST
    while number == FIRST or time.monotonic() < end:
        for target in targets:
            try:
                counts[target.name] += fuzz(target, ROUND if MINUTES else SLOW, seed=number)
            except BaseException as error:  # AssertionError, and groups of several finds
                if isinstance(error, KeyboardInterrupt):
                    raise
                finds.append(f"{target.name}, seed {number}: {error!r}")
                sys.stdout.write(f"FIND {finds[-1][:300]}\n{_where(error)}\n")
        sys.stdout.write(f"round {number}: {sum(counts.values())} inputs {dict(counts)}, {len(finds)} finds\n")
        sys.stdout.flush()
        number += 1
    assert finds == []


def _where(error: BaseException) -> str:
    """The last lines of maskx that each of the finds went through, and what was given."""
    errors = error.exceptions if isinstance(error, BaseExceptionGroup) else [error]
    said = []
    for one in errors:
        frames = [frame for frame in traceback.extract_tb(one.__traceback__) if "/maskx_pipeline/" in frame.filename]
        said += [f"  {type(one).__name__}: {one!s:.200}"]
        said += [f"    {Path(frame.filename).name}:{frame.lineno} {frame.line}" for frame in frames[-4:]]
        said += [f"    {note:.1500}" for note in getattr(one, "__notes__", ())]
    return "\n".join(said)
