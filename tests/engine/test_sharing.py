"""Work that is shared out to several processes, and what becomes of it where one of them fails or dies."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator

import pytest
from faults_world import Zygote
from ranks_world import side_by_side

from maskx_pipeline.engine.distributed import part_of
from maskx_pipeline.engine.sharing import shared_out

START = """
import json, os, signal, sys, time
from maskx_pipeline import commands
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import each_of, shared_out
from maskx_pipeline.errors import DataError

def work(some):
    for item in some:
        {body}
        yield item, distributed.rank()

def command(*arguments, **options):
    found = list(shared_out(range(200), work, block={block}))
    every = distributed.on_main(lambda: found)
    print(json.dumps([distributed.rank(), found, len(every)]), file=sys.stderr)

commands.cli.main = command
sys.argv = ["maskx", "run"]  # one that processes share
commands.main()
"""


def test_one_process_does_all_of_it_itself() -> None:
    """A result at a time, as it is asked for."""
    made = []

    def work(some: Iterable[int]) -> Iterator[int]:
        for item in some:
            made.append(item)
            yield 10 * item

    results = shared_out(range(3), work)
    assert next(results) == 0
    assert made == [0]
    assert list(results) == [10, 20]
    assert part_of(7) == slice(0, 7)


@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_results_come_in_the_order_of_the_items_and_to_the_main_process_alone(block: int, zygote: Zygote) -> None:
    """Also where they are large and one process is slower; a block goes to one process."""
    body = "time.sleep(0.001 * (distributed.rank() == item % 2)); item = [item] * 5000"
    said = side_by_side([sys.executable, "-c", START.format(body=body, block=block)], processes=2, zygote=zygote)
    for rank, text in enumerate(said):
        number, found, known = json.loads(text.splitlines()[-1])
        assert (number, known) == (rank, 200)
        assert found == ([[[item] * 5000, item // block % 2] for item in range(200)] if rank == 0 else [])


def test_an_error_of_one_process_is_the_error_of_the_main_one(zygote: Zygote) -> None:
    body = "if item == 121: raise DataError('the image 121 is broken.')"
    said = side_by_side(
        [sys.executable, "-c", START.format(body=body, block=1)], processes=2, zygote=zygote, codes=[1, 1]
    )
    for text in said:
        assert "Error: the image 121 is broken." in text
        assert "Traceback" not in text


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_where_one_process_dies_the_other_ends_within_seconds(rank: int, zygote: Zygote) -> None:
    """Whether it waits for a result or hands one over."""
    body = f"if distributed.rank() == {rank} and item > 20: os.kill(os.getpid(), signal.SIGKILL)"
    began = time.monotonic()
    codes = [1, 1]
    codes[rank] = -9
    said = side_by_side(
        [sys.executable, "-c", START.format(body=body, block=1)], processes=2, zygote=zygote, codes=codes
    )
    assert time.monotonic() - began < 60
    assert f"another of the 2 processes has ended, so this one ({1 - rank}) ends." in said[1 - rank]
    assert "Traceback" not in said[1 - rank]
