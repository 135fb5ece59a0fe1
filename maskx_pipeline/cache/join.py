"""Joining the shards that several processes wrote into one RoI cache, without copying their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from maskx_pipeline.cache.checksums import SUMS, seal_cache
from maskx_pipeline.cache.hdf5_file import open_hdf5
from maskx_pipeline.cache.layout import write_header
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import GROUP_PATHS, pack_targets
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.provenance.room import check_room


def shard_path(path: Path, rank: int, world_size: int) -> Path:
    """The file of one of ``world_size`` processes that write ``path`` together; ranks count from 0."""
    return path.with_name(f"{path.stem}.shard-{rank}-of-{world_size}{path.suffix}")


def join_shards(shards: Sequence[Path], path: Path) -> None:
    """Write a cache that shows the rows of all shards, one after the other.

    The large columns stay in the shards and are seen through HDF5's virtual datasets; everything else is copied. Shards
    are named relative to ``path``, so the files can be moved together.

    Args:
        shards: Finished caches of equal identity, in the folder of ``path`` or below.

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
                _write(file, caches, path)
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


def _write(file: h5py.File, caches: Sequence[RoICache], path: Path) -> None:
    first = caches[0]
    dimensions = first.dimensions
    write_header(file, first.identity, first.categories, first.class_weights, first.mask_size, complete=True)
    for group, group_path in GROUP_PATHS.items():
        target = file.create_group(group_path)
        counts = [len(getattr(cache, group)) for cache in caches]
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
            target.create_dataset(name, data=np.concatenate(parts).astype(dtype))
        if all(cache.sums[group] is not None for cache in caches):
            target.create_dataset(SUMS, data=np.concatenate([cache.sums[group] for cache in caches]))
        for name, (dtype, shape) in large.items():
            layout = h5py.VirtualLayout((sum(counts), *shape), dtype=dtype)
            start = 0
            for cache, count in zip(caches, counts, strict=True):
                if count:
                    shard = cache.path.relative_to(path.parent).as_posix()
                    layout[start : start + count] = h5py.VirtualSource(
                        shard, f"{group_path}/{name}", (count, *shape), dtype
                    )
                start += count
            target.create_virtual_dataset(name, layout)
