"""Joining the shards that several processes wrote into one RoI cache, without copying their features."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.cache.checksums import SUMS, seal_cache
from maskx_pipeline.cache.hdf5_file import open_hdf5
from maskx_pipeline.cache.layout import write_header
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import GROUP_PATHS, pack_targets
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.provenance.room import check_room


def join_shards(shards: Sequence[Path], path: Path, *, train_images: Sequence[int], val_images: Sequence[int]) -> None:
    """Write a cache that shows the rows of all shards, image after image as one process writes them.

    The large columns stay in the shards and are seen through HDF5's virtual datasets; everything else is copied. Shards
    are named relative to ``path``, so the files can be moved together.

    Args:
        shards: Finished caches of equal identity, in the folder of ``path`` or below, each image in one of them.
        train_images: The ids of the images of train in their order.
        val_images: The same of val.

    Raises:
        CacheError: A shard is missing, unfinished, or was made from something else than the first one.
    """
    caches = [RoICache(shard) for shard in shards]
    try:
        first = caches[0]
        for cache in caches[1:]:
            if different := first.identity.differences(cache.identity):
                raise CacheError(
                    f"{cache.path} was made from something else than {first.path}: {', '.join(different)}.",
                    "run `maskx export-embeddings --overwrite`",
                )
        needed = sum(shard.stat().st_size - _large_bytes(cache) for shard, cache in zip(shards, caches, strict=True))
        with atomic_path(path, needed=needed) as temporary:
            check_room(temporary, written=needed, size=needed)
            with open_hdf5(temporary, "w", libver=("earliest", "v110")) as file:
                _write(file, caches, path, train_images, val_images)
            seal_cache(temporary)
    finally:
        for cache in caches:
            cache.close()


def _large_bytes(cache: RoICache) -> int:
    """Of the columns that stay in a shard."""
    dimensions = cache.dimensions
    return sum(
        len(getattr(cache, group)) * np.dtype(dtype).itemsize * int(np.prod(shape))
        for group in GROUP_PATHS
        for dtype, shape in dimensions.large_columns(group).values()
    )


def _write(
    file: h5py.File,
    caches: Sequence[RoICache],
    path: Path,
    train_images: Sequence[int],
    val_images: Sequence[int],
) -> None:
    first = caches[0]
    dimensions = first.dimensions
    write_header(file, first.identity, first.categories, first.class_weights, first.mask_size, complete=True)
    for group, group_path in GROUP_PATHS.items():
        target = file.create_group(group_path)
        counts = [len(getattr(cache, group)) for cache in caches]
        order = _order(
            np.concatenate([getattr(cache, group).image_ids for cache in caches]),
            train_images if group == "train" else val_images,
        )
        large = dimensions.large_columns(group)
        for name, (dtype, _) in dimensions.columns(group).items():
            if name in large:
                continue
            if name == "targets":
                parts = [
                    pack_targets(cache.read_targets(range(n), group)) for cache, n in zip(caches, counts, strict=True)
                ]
            else:
                parts = [getattr(getattr(cache, group), name) for cache in caches]
            target.create_dataset(name, data=np.concatenate(parts)[order].astype(dtype))
        if all(cache.sums[group] is not None for cache in caches):
            target.create_dataset(SUMS, data=np.concatenate([cache.sums[group] for cache in caches])[order])
        pieces = list(_pieces(order, counts))
        for name, (dtype, shape) in large.items():
            layout = h5py.VirtualLayout((sum(counts), *shape), dtype=dtype)
            for start, shard, row, rows in pieces:
                name_of_shard = caches[shard].path.relative_to(path.parent).as_posix()
                source = h5py.VirtualSource(name_of_shard, f"{group_path}/{name}", (counts[shard], *shape), dtype)
                layout[start : start + rows] = source[row : row + rows]
            target.create_virtual_dataset(name, layout)


def _order(image_ids: NDArray[np.int64], images: Sequence[int]) -> NDArray[np.intp]:
    """Which row comes first, which second, and so on: image by image, and within an image as they are."""
    by_id = np.argsort(np.array(images, dtype=np.int64), kind="stable")
    place_of_row = by_id[np.searchsorted(np.array(images, dtype=np.int64)[by_id], image_ids)]
    return np.argsort(place_of_row, kind="stable")


def _pieces(order: NDArray[np.intp], counts: Sequence[int]) -> Iterator[tuple[int, int, int, int]]:
    """Runs of rows that lie together: the first row in the whole, the shard, the first row there, how many."""
    shards = np.repeat(np.arange(len(counts)), counts)[order]
    rows = np.concatenate([np.arange(count) for count in counts])[order]
    starts = np.flatnonzero((np.diff(shards, prepend=-1) != 0) | (np.diff(rows, prepend=-1) != 1))
    for start, end in itertools.pairwise([*starts.tolist(), len(order)]):
        yield start, int(shards[start]), int(rows[start]), end - start
