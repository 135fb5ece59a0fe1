"""The RoIs that stage 2 may learn from: rows of seen categories, in batches that follow from seed and step alone."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.cache.eight_bit import as_float16
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.errors import CacheError, listed
from maskx_pipeline.transfer.feature_place import place_features

Batch = tuple[Tensor, Tensor, Tensor]
Stored = tuple[Tensor, ...]  # features as they are stored, labels, targets

_ROWS_PER_READ = 1024

logger = logging.getLogger("maskx")


class SeenRoIs:
    """Batches of training RoIs whose category is seen; no other row of the cache is ever read.

    The epochs' permutations, each a pure function of (seed, epoch), follow one another, and a step takes the next
    ``rois_per_batch`` rows. Batches come from a thread that reads one step ahead, from disk or from memory, or from the
    GPU's memory; they are the same. What is kept and moved are features as they are stored, so those of an int8 cache
    take half of the memory; the device makes float16 of a batch.

    Args:
        cache: The RoI cache.
        seen: Labels of the seen categories.
        rois_per_batch: Rows of a step.
        seed: Seed of the permutations.
        device: Where the batches go.
        cache_in: Where the features are kept; see :func:`place_features`.

    Raises:
        CacheError: No category is seen, or the cache has no RoIs of one that is.
        MachineError: They cannot be kept there.
    """

    def __init__(
        self,
        cache: RoICache,
        *,
        seen: Collection[int],
        rois_per_batch: int,
        seed: int,
        device: torch.device,
        cache_in: str,
    ) -> None:
        self.rows = rows_of_seen(cache, seen)
        self._cache, self._seed, self._device = cache, seed, device
        self._size = rois_per_batch
        self._permutation: tuple[int, NDArray[np.int64]] = (-1, self.rows)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="roi-reader")
        self._next: tuple[int, Future[Stored]] | None = None
        # One batch is computed with while the next is read.
        kept = cache.dimensions.feature_columns("train").values()
        self._buffers = [[np.empty((rois_per_batch, *shape), dtype) for dtype, shape in kept] for _ in range(2)]
        row_bytes = cache.dimensions.feature_row_bytes("train") + cache.mask_size**2
        place = place_features(cache_in, num_bytes=len(self.rows) * row_bytes, device=device)
        logger.info("RoI features are taken from %s (%s).", place.name, place.reason)
        self._in_ram = cache.read_stored("train", self.rows) if place.name == "ram" else None
        self._resident = self._read_all() if place.name == "gpu" else None

    def __len__(self) -> int:
        return len(self.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.shutdown(cancel_futures=True)

    def positions(self, step: int) -> NDArray[np.int64]:
        """Which of :attr:`rows` make the batch of a step: int64 [rois_per_batch], ascending."""
        wanted = np.arange(step * self._size, (step + 1) * self._size)
        epochs, offsets = np.divmod(wanted, len(self.rows))
        parts = [self._permuted(int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)]
        return np.sort(np.concatenate(parts))  # the order within a batch is free, and this one suits the disk

    def batch(self, step: int) -> Batch:
        """The batch of a step.

        Returns:
            HalfTensor[N, C, S, S] of features, int64 [N] of labels 1..K, uint8 [N, M, M] of binary targets, on the
            device. The features hold until the next batch is asked for.
        """
        if self._resident is not None:
            positions = torch.from_numpy(self.positions(step)).to(self._device, non_blocking=True)
            columns = [column.index_select(0, positions) for column in self._resident]
        else:
            if self._next is None or self._next[0] != step:
                self._next = (step, self._reader.submit(self._read_step, step))
            columns = [column.to(self._device, non_blocking=True) for column in self._next[1].result()]
            self._next = (step + 1, self._reader.submit(self._read_step, step + 1))
        *stored, labels, targets = columns
        return as_float16(stored), labels, targets

    def _permuted(self, epoch: int) -> NDArray[np.int64]:
        known, permutation = self._permutation
        if known != epoch:
            permutation = np.random.default_rng((self._seed, epoch)).permutation(len(self.rows))
            self._permutation = (epoch, permutation)
        return permutation

    def _read_step(self, step: int) -> Stored:
        columns = self._read(self.positions(step), self._buffers[step % len(self._buffers)])
        if self._device.type != "cuda":
            return columns
        return tuple(column.pin_memory() for column in columns)

    def _read(self, positions: NDArray[np.int64], buffers: Sequence[NDArray[Any]] | None = None) -> Stored:
        rows = self.rows[positions]
        if self._in_ram is None or buffers is None:
            stored = self._cache.read_stored("train", rows, out=buffers)
        else:  # positions are in range; any other mode than raise copies without a buffer in between
            stored = tuple(
                np.take(column, positions, axis=0, out=out, mode="clip")
                for column, out in zip(self._in_ram, buffers, strict=True)
            )
        return (
            *map(torch.from_numpy, stored),
            torch.from_numpy(self._cache.train.labels[rows]),
            torch.from_numpy(self._cache.read_targets(rows, "train")),
        )

    def _read_all(self) -> Stored:
        count, device = len(self.rows), self._device
        columns = tuple(
            torch.empty((count, *column.shape[1:]), dtype=column.dtype, device=device)
            for column in self._read(np.arange(0))
        )
        for start in range(0, count, _ROWS_PER_READ):
            part = np.arange(start, min(start + _ROWS_PER_READ, count))
            for column, values in zip(columns, self._read(part), strict=True):
                column[start : start + len(part)] = values.to(device)
        return columns


def rows_of_seen(cache: RoICache, seen: Collection[int]) -> NDArray[np.int64]:
    """The training rows of the seen categories, ascending.

    Raises:
        CacheError: No category is seen, or the cache has no RoIs of one that is.
    """
    if not seen:
        raise CacheError("No category is seen, so there is no mask to learn from.", "give another --split")
    labels = cache.train.labels
    without = sorted(set(seen) - set(np.unique(labels).tolist()))
    if without:
        names = {category.label: category.name for category in cache.categories}
        absent = [names.get(label, f"label {label}") for label in without]
        raise CacheError(
            f"{cache.path} holds no RoIs of seen categories: {listed(absent, 5)}.",
            "their training objects have no masks; leave them out with --split masked or --split @names.txt",
        )
    return np.flatnonzero(np.isin(labels, sorted(seen)))
