"""What it costs to check each row of the RoI cache that is read, and why it is not HDF5's fletcher32.

    python benchmarks/checksums.py [--rois 2048]

Batches of 128 RoIs with the page cache warm, with the check and without; the step of stage 2 that waits for them; and
the same rows from a file with fletcher32, which HDF5 has to read.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
from full_size_cache import write_full_size_cache
from side_by_side import print_machine, print_table, side_by_side
from stage2_step import Stage2, batches_of

from maskx_pipeline.cache.reader import RoICache

BATCH = 128


def main() -> None:
    """Write two files, read the same rows, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rois", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = write_full_size_cache(Path(folder, "cache.h5"), rois=options.rois)
        checked, plain = (stack.enter_context(RoICache(path)) for _ in range(2))
        plain.sums["train"] = None
        rows = np.sort(np.random.default_rng(0).permutation(options.rois)[:BATCH])
        every = plain.read_features("train", range(options.rois))
        with h5py.File(Path(folder, "fletcher.h5"), "w") as file:
            file.create_dataset("features", data=every, chunks=(1, *every.shape[1:]), fletcher32=True)
        fletcher = stack.enter_context(h5py.File(Path(folder, "fletcher.h5"), "r"))["features"]
        out = np.empty((BATCH, *every.shape[1:]), every.dtype)

        def read(cache: RoICache) -> None:
            cache.read_stored("train", rows, out=[out])

        reading = side_by_side(lambda: read(checked), lambda: read(plain), repeats=options.repeats)
        by_hdf5 = side_by_side(lambda: fletcher[rows], lambda: read(plain), repeats=options.repeats)
        stage2, numbers = Stage2(checked, amp="auto"), (itertools.count(), itertools.count())
        batches = [stack.enter_context(batches_of(c, BATCH, stage2.device, "disk")) for c in (checked, plain)]
        steps = side_by_side(
            lambda: stage2.step(*batches[0].batch(next(numbers[0]))),
            lambda: stage2.step(*batches[1].batch(next(numbers[1]))),
            repeats=options.steps,
        )
    print_table(
        [f"{BATCH} RoIs", "checked, ms", "unchecked, ms", "as fast as unchecked"],
        [
            ["reading them, by the sums of rows", *reading.cells()],
            ["reading them, by fletcher32", *by_hdf5.cells()],
            ["a step of stage 2, by the sums of rows", *steps.cells()],
        ],
    )


if __name__ == "__main__":
    main()
