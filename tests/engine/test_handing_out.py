"""Pieces of work that processes take one by one, and what becomes of the others where one fails, stops or dies."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest
from ranks_world import side_by_side

from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.handing_out import handed_out

START = """
import json, os, signal, sys, time
from maskx_pipeline import commands
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.handing_out import handed_out
from maskx_pipeline.engine.interrupt import DeferredInterrupt
from maskx_pipeline.errors import DataError

def work(item):
    rank = int(os.environ["RANK"])
    {body}
    return item, rank, distributed.world_size(), distributed.local_world_size()

def command(*arguments, **options):
    distributed.start()
    assert distributed.on_main(lambda: (distributed.on_main(distributed.rank), distributed.world_size())) == (0, 1)
    seen = []
    for number in [{rounds}]:
        for item, result in handed_out([10 * index for index in range(number)], work):
            seen.append([item, *result])
    print(json.dumps(seen), file=sys.stderr)

commands.cli.main = command
sys.argv = ["maskx", "run"]  # one that processes share
commands.main()
"""

TRAINING = """
    with DeferredInterrupt() as interrupt:  # as a training of an hour, which asks after each step
        for step in range(36000 if item >= 20 else 0):
            time.sleep(0.1)
            if distributed.any_process(interrupt.asked):
                print("stopped at", step, file=sys.stderr)
                raise interrupt.error()
"""


def test_one_process_does_all_of_it_itself() -> None:
    """One at a time, as it is asked for."""
    made = []

    def work(item: int) -> int:
        made.append(item)
        return 10 * item

    results = handed_out([1, 2, 3], work)
    assert next(results) == (1, 10)
    assert made == [1]
    assert list(results) == [(2, 20), (3, 30)]


def test_who_is_free_takes_the_next() -> None:
    """One process is slow at its first piece, and the other does all the rest; all get every result, round after round.

    For its piece each is one of one, but of two in the machine's memory.
    """
    body = "time.sleep(3 if item == 0 else 0.05)"
    said = side_by_side([sys.executable, "-c", START.format(body=body, rounds="8, 1, 3")], processes=2)
    main, other = (json.loads(text.splitlines()[-1]) for text in said)
    assert sorted(main[:8]) == other[:8]
    assert [item for item, *_ in other] == [0, 10, 20, 30, 40, 50, 60, 70, 0, 0, 10, 20]
    assert {(all_, here) for *_, all_, here in other} == {(1, 2)}
    slow = other[0][2]
    assert [result[2] for result in other[1:8]] == [1 - slow] * 7
    assert sorted(main[8:]) == sorted(other[8:])


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_error_of_one_is_the_error_of_all(rank: int) -> None:
    """The other is stopped in the midst of a long piece, after a step."""
    body = f"if rank == {rank}: time.sleep(1); raise DataError('this one is broken.')\n    item = 20" + TRAINING
    began = time.monotonic()
    said = side_by_side([sys.executable, "-c", START.format(body=body, rounds="8")], processes=2, codes=[1, 1])
    assert time.monotonic() - began < 60
    for text in said:
        assert "Error: this one is broken." in text
        assert "Traceback" not in text
    assert "stopped at" in said[1 - rank]


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_where_one_dies_the_other_ends_within_seconds(rank: int) -> None:
    body = f"if rank == {rank}: time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)\n    item = 20" + TRAINING
    began = time.monotonic()
    codes = [1, 1]
    codes[rank] = -signal.SIGKILL
    said = side_by_side([sys.executable, "-c", START.format(body=body, rounds="8")], processes=2, codes=codes)
    assert time.monotonic() - began < 60
    assert f"another of the 2 processes has ended, so this one ({1 - rank}) ends." in said[1 - rank]
    assert "stopped at" in said[1 - rank]
    assert "Traceback" not in said[1 - rank]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_waits_for_the_others_and_dies_is_missed_too(rank: int, tmp_path: Path) -> None:
    """It has nothing left to take: the other one has begun with what it did not."""
    begun = f"Path({str(tmp_path / 'begun')!r})"
    body = (
        "import threading; from pathlib import Path\n"
        f"    while rank == {rank} and not {begun}.exists(): time.sleep(0.1)\n"
        "    kill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"    if rank == {rank}: threading.Timer(3, kill).start(); return 0, 0, 0, 0\n"
        f"    {begun}.touch(); item = 20{TRAINING}"
    )
    codes = [1, 1]
    codes[rank] = -signal.SIGKILL
    said = side_by_side([sys.executable, "-c", START.format(body=body, rounds="2")], processes=2, codes=codes)
    assert "another of the 2 processes has ended" in said[1 - rank]
    assert "stopped at" in said[1 - rank]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_signal_to_one_stops_all(rank: int, number: int) -> None:
    """All end with its exit code, after a step."""
    kill = f"threading.Timer(1, lambda: os.kill(os.getpid(), {int(number)})).start()"
    body = f"import threading\n    if rank == {rank}: {kill}\n    item = 20"
    program = START.format(body=body + TRAINING, rounds="8")
    said = side_by_side([sys.executable, "-c", program], processes=2, codes=[128 + number] * 2)
    for text in said:
        assert "stopped at" in text
        assert "Traceback" not in text


def test_alone_is_over_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks may be nested, and an error ends one too."""

    def end() -> bool:
        return True

    assert not distributed.any_process(False)
    with distributed.alone(end):
        assert distributed.any_process(False)
        with distributed.alone():
            assert not distributed.any_process(False)
        assert distributed.any_process(False)
    assert not distributed.any_process(False)
    with pytest.raises(KeyError), distributed.alone(end):
        raise KeyError
    assert not distributed.any_process(False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with distributed.alone():
        distributed.start()
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
