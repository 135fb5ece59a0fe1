"""Random reads of RoI features from the cache, one process.

    python benchmarks/cache_reads.py [--rois 8192]

With the page cache warm, beside it memcpy of as many bytes from memory (the limit), and the layout that h5py users
reach for first: one dataset in chunks of 16 rows, read by index. Then a cache of int8 features against the float16
one, warm, and from the disk: rows that were never read since the system dropped both files from its page cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import torch
from full_size_cache import write_full_size_cache
from numpy.typing import NDArray
from side_by_side import Measured, print_machine, print_table, side_by_side

from maskx_pipeline.cache.eight_bit import as_float16
from maskx_pipeline.cache.reader import RoICache

BATCH = 128
WARM_UP = 2
Read = Callable[[NDArray[np.int64]], object]


def main() -> None:
    """Write three files, read the same random rows of them, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rois", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="Where the files are written for the time being.")
    options = parser.parse_args()
    order = np.random.default_rng(0).permutation(options.rois)[: options.rois // BATCH * BATCH]
    batches = np.sort(order.reshape(-1, BATCH), axis=1)  # as stage 2 asks for them
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        paths = [
            write_full_size_cache(Path(folder, f"{name}.h5"), rois=options.rois, feature_dtype=name)
            for name in ("float16", "int8")
        ]
        with RoICache(paths[0]) as half, RoICache(paths[1]) as eight:
            print_machine()
            against_others(half, Path(folder, "plain.h5"), batches[: len(batches) // 4], options.repeats)
            print()
            eight_against_half(half, eight, batches, options.repeats)


def against_others(cache: RoICache, plain: Path, batches: NDArray[np.int64], repeats: int) -> None:
    """Print the table of float16 against memory and h5py."""
    every = cache.read_features("train", np.arange(len(cache.train)))
    with h5py.File(plain, "w") as file:
        file.create_dataset("features", data=every, chunks=(16, *every.shape[1:]))
    out = np.empty((BATCH, *every.shape[1:]), dtype=every.dtype)
    ours = each(batches, lambda rows: cache.read_stored("train", rows, out=[out]))
    memcpy = each(batches, lambda rows: np.take(every, rows, axis=0, out=out, mode="clip"))
    with h5py.File(plain, "r") as file:
        chunked = each(batches, lambda rows: file["features"][rows])
        against_memcpy = side_by_side(ours, memcpy, repeats=repeats)
        against_plain = side_by_side(ours, chunked, repeats=max(3, repeats // 3), warm_up=1)
    gigabytes = batches.size * every[0].nbytes / 1e9
    rate = gigabytes / float(np.median(against_memcpy.ours))
    print(f"{batches.size} random rows of {every[0].nbytes} bytes in batches of {BATCH}: {rate:.2f} GB/s\n")
    print_table(
        ["reading one batch against", "ours, ms", "reference, ms", "as fast as the reference"],
        [
            ["memcpy of the same rows from memory", *against_memcpy.cells(each=len(batches))],
            ["chunks of 16 rows, h5py's own indexing", *against_plain.cells(each=len(batches))],
        ],
    )


def eight_against_half(half: RoICache, eight: RoICache, batches: NDArray[np.int64], repeats: int) -> None:
    """Print the table of int8 against float16."""
    reference, warm, parts = reader(half), batches[: len(batches) // 4], np.array_split(batches, repeats + WARM_UP)
    ways = (("as stored", reader(eight)), ("made float16", reader(eight, restore=True)))
    rows = []
    for what, read in ways:
        measured = side_by_side(each(warm, read), each(warm, reference), repeats=repeats, warm_up=WARM_UP)
        rows.append(row(f"page cache warm, {what}", measured, warm))
    for what, read in ways:
        for cache in (half, eight):
            forget(cache.path)
        calls = [one_after_another(parts, way) for way in (read, reference)]
        measured = side_by_side(calls[0], calls[1], repeats=repeats, warm_up=WARM_UP)
        rows.append(row(f"from the disk, {what}", measured, parts[-1]))
    print_table(["RoIs a second", "int8", "float16", "as fast as float16"], rows)


def each(batches: Iterable[NDArray[np.int64]], read: Read) -> Callable[[], None]:
    """A call that reads all of these batches."""

    def call() -> None:
        for rows in batches:
            read(rows)

    return call


def one_after_another(parts: Iterable[NDArray[np.int64]], read: Read) -> Callable[[], None]:
    """A call that reads the next of these parts, each a number of batches."""
    rest = iter(parts)
    return lambda: each(next(rest), read)()


def reader(cache: RoICache, *, restore: bool = False) -> Read:
    """Reads a batch into memory that is there already, as stage 2 does, and makes float16 of it if asked to."""
    columns = cache.dimensions.feature_columns("train").values()
    out = [np.empty((BATCH, *shape), dtype) for dtype, shape in columns]

    def read(rows: NDArray[np.int64]) -> None:
        stored = cache.read_stored("train", rows, out=out)
        if restore:
            as_float16([torch.from_numpy(column) for column in stored])

    return read


def forget(path: Path) -> None:
    """Let the system drop a file from its page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def row(what: str, measured: Measured, batches: NDArray[np.int64]) -> list[str]:
    """RoIs a second of both, and the ratio."""
    rates = [batches.size / float(np.median(times)) for times in (measured.ours, measured.reference)]
    return [what, *(f"{rate:,.0f}" for rate in rates), f"{measured.ratio:.2f}x"]


if __name__ == "__main__":
    main()
