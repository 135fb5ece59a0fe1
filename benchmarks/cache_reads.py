"""Random reads of RoI features from the cache, page cache warm, one process.

    python benchmarks/cache_reads.py [--rois 8192]

Beside it, memcpy of as many bytes from memory (the limit), and the layout that h5py users reach for first: one
dataset in chunks of 16 rows, read by index.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy as np
from full_size_cache import write_full_size_cache
from side_by_side import print_machine, print_table, side_by_side

from maskx_pipeline.cache.reader import RoICache

BATCH = 128


def main() -> None:
    """Write two files, read the same random rows of both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rois", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="Where the files are written for the time being.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = write_full_size_cache(Path(folder, "cache.h5"), rois=options.rois)
        with RoICache(path) as cache:
            every = cache.read_features("train", np.arange(options.rois))
            plain = Path(folder, "plain.h5")
            with h5py.File(plain, "w") as file:
                file.create_dataset("features", data=every, chunks=(16, *every.shape[1:]))
            batches = np.random.default_rng(0).permutation(options.rois)[: options.rois // BATCH * BATCH // 4]
            batches = np.sort(batches.reshape(-1, BATCH), axis=1)  # as stage 2 asks for them
            out = np.empty((BATCH, *every.shape[1:]), dtype=every.dtype)

            def ours() -> None:
                for rows in batches:
                    cache.read_features("train", rows, out=out)

            def memcpy() -> None:
                for rows in batches:
                    np.take(every, rows, axis=0, out=out, mode="clip")

            with h5py.File(plain, "r") as file:

                def chunked() -> None:
                    for rows in batches:
                        file["features"][rows]

                against_memcpy = side_by_side(ours, memcpy, repeats=options.repeats)
                against_plain = side_by_side(ours, chunked, repeats=max(3, options.repeats // 3), warm_up=1)
    gigabytes = batches.size * every[0].nbytes / 1e9
    rate = gigabytes / float(np.median(against_memcpy.ours))
    print_machine()
    print(f"{batches.size} random rows of {every[0].nbytes} bytes in batches of {BATCH}: {rate:.2f} GB/s\n")
    print_table(
        ["reading one batch against", "ours, ms", "reference, ms", "as fast as the reference"],
        [
            ["memcpy of the same rows from memory", *against_memcpy.cells(each=len(batches))],
            ["chunks of 16 rows, h5py's own indexing", *against_plain.cells(each=len(batches))],
        ],
    )


if __name__ == "__main__":
    main()
