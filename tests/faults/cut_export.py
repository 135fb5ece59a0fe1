"""Run by test_power_cut.py with the library of write_log.py: power cuts while a RoI cache is written.

An export is logged; for each state that a power cut may leave, the export is started again, and must end as one that
was never cut, from the last commit on. Prints what went wrong, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cache_fakes
import torch
import write_log
from power_cut import cuts_of, read_tree, write_tree

from maskx_pipeline.cache.job import ExportJob
from maskx_pipeline.cache.writer import RoICacheWriter


def logged(root: Path, work: Callable[[], Any]) -> list[write_log.Call]:
    """The calls of some work."""
    commit, finish = RoICacheWriter.commit, RoICacheWriter.finish

    def marked(self: RoICacheWriter, images_done: int) -> None:
        commit(self, images_done)
        write_log.mark(images_done)

    def finished(self: RoICacheWriter) -> Path:
        path = finish(self)
        write_log.mark(1000)
        return path

    with tempfile.TemporaryFile() as log:
        with mock.patch.object(RoICacheWriter, "commit", marked), mock.patch.object(RoICacheWriter, "finish", finished):
            write_log.begin(root, log=log.fileno())
            work()
            write_log.end()
        log.seek(0)
        return list(write_log.read_log(log.read()))


def main(folder: Path, step: int, again: int, settings: dict[str, Any]) -> None:
    """Try every ``step``-th state and the last.

    Args:
        again: In every so many-th of them the second export is cut too; 0 for none.
    """
    torch.set_num_threads(1)
    sizes = settings.pop("images", [3, 2])
    train, val = cache_fakes.make_train(folder, sizes[0]), cache_fakes.make_val(folder, sizes[1])
    root = folder / "runs"
    root.mkdir()
    out = root / "cache.h5"

    def export() -> None:
        cache_fakes.export(out, train, val, **settings)

    before, nodes = read_tree(root)
    calls = logged(root, export)
    whole = cache_fakes.contents(out)
    counts: Counter[str] = Counter(calls=len(calls))
    first: dict[str, str] = {}
    started = time.monotonic()

    def check(number: int, marked: int) -> None:
        counts["states"] += 1
        try:
            if out.exists():
                counts["under its final name"] += 1
                if cache_fakes.contents(out) != whole:
                    raise ValueError("differs")
        except Exception as error:
            counts["corrupt under its final name"] += 1
            first.setdefault("corrupt", f"after call {number}: {error}")
        start = 1000  # no image is looked at: all are done
        images = ExportJob._images

        def begun(self: ExportJob, done: int) -> Any:
            nonlocal start
            start = done
            return images(self, done)

        try:
            with mock.patch.object(ExportJob, "_images", begun):
                export()
            if cache_fakes.contents(out) != whole:
                counts["corrupt under its final name"] += 1
                raise ValueError("differs")
            left = sorted(path.name for path in root.iterdir())
            if left != ["cache.h5"]:
                raise ValueError(f"left: {left}")
            if start < marked:
                counts["commits lost"] += 1
                first.setdefault("commits lost", f"after call {number}: starts at {start}, not {marked}")
        except BaseException as error:
            counts["lost"] += 1
            first.setdefault("lost", f"after call {number}: {error!r}")

    states = list(cuts_of(root, before, nodes, calls))
    for n, (number, marked, tree) in enumerate(states):
        if n % step and n < len(states) - 1:
            continue
        write_tree(root, tree)
        check(number, marked)
        if again and n % again == 0:
            write_tree(root, tree)
            found, inodes = read_tree(root)
            second = logged(root, export)
            counts["second exports cut"] += 1
            for m, (later, _, twice) in enumerate(cuts_of(root, found, inodes, second)):
                if m % 7 == n % 7:
                    write_tree(root, twice)
                    check(later, 0)
    counts["seconds"] = round(time.monotonic() - started)
    print(json.dumps({**counts, "first": first}))  # noqa: T201
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
