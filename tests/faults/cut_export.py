"""Run by test_power_cut.py with the library of write_log.py: power cuts while a RoI cache is written.

An export is logged; for each state that a power cut may leave, the export is started again, and must end as one that
was never cut, from the last commit on. Prints what went wrong, as JSON. With ``processes`` among the settings, the
first number of them began an export and stopped, the second goes on and is logged, and the third is started again; the
work of each is done one after the other, in this process.
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
from test_shards import begin, looked_at

from maskx_pipeline.cache.writer import RoICacheWriter


def logged(root: Path, work: Callable[[], Any], before: int = 0) -> list[write_log.Call]:
    """The calls of some work; a mark is the number of images that are committed, with those of ``before``."""
    commit = RoICacheWriter.commit
    committed: dict[Path, int] = {}

    def marked(self: RoICacheWriter, images_done: int) -> None:
        commit(self, images_done)
        committed[self.path] = images_done
        write_log.mark(before + sum(committed.values()))

    with tempfile.TemporaryFile() as log:
        with mock.patch.object(RoICacheWriter, "commit", marked):
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
    began, goes_on, at_last = settings.pop("processes", [0, 1, 1])
    train, val = cache_fakes.make_train(folder, sizes[0]), cache_fakes.make_val(folder, sizes[1])
    root = folder / "runs"
    root.mkdir()
    out = root / "cache.h5"

    def export(processes: int) -> None:
        cache_fakes.export_by(processes, out, train, val, **settings)

    every = sizes[0] - 1 + sizes[1]  # an image without objects is not looked at
    committed = len(begin(out, train, val, [0] * began, **settings)) if began else 0
    before, nodes = read_tree(root)
    calls = logged(root, lambda: export(goes_on), committed)
    whole = cache_fakes.contents(cache_fakes.export(folder / "whole.h5", train, val, **settings))
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
        try:
            with looked_at() as seen:
                export(at_last)
            if cache_fakes.contents(out) != whole:
                counts["corrupt under its final name"] += 1
                raise ValueError("differs")
            left = sorted(path.name for path in root.iterdir())
            if left != ["cache.h5"] and not (began and all(name.endswith(".h5") for name in left)):
                raise ValueError(f"left: {left}")
            if len(seen) > every - marked:
                counts["commits lost"] += 1
                first.setdefault("commits lost", f"after call {number}: {len(seen)} of {every - marked} images")
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
            second = logged(root, lambda: export(at_last))
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
