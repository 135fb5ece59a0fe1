"""The RoIs that stage 2 learns from, in batches that follow from seed and step alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskx_pipeline.cache.eight_bit import as_float16
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.schema import ONLY, TEACHER_MASK
from maskx_pipeline.engine import distributed
from maskx_pipeline.errors import CacheError, ConfigError, listed
from maskx_pipeline.transfer.feature_place import place_features

Batch = tuple[Tensor, ...]  # features, labels, then what supervises them
Supervision = Callable[[NDArray[np.int64]], tuple[NDArray[Any], ...]]
"""From rows of the cache's train group to what supervises them, an array with an entry for each row."""

_ROWS_PER_READ = 1024

logger = logging.getLogger("maskx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How RoIs are drawn, and where their features are kept.

    Attributes:
        rois: ``ground-truth`` takes the objects' own boxes alone, ``proposals`` the other RoIs, ``both`` all.
        seed: Of the permutations.
        device: Where the batches go.
        cache_in: Where the features are kept; see :func:`place_features`.
        streams: How many streams of batches there are, which share the room.
    """

    rois: str = "both"
    seed: int
    device: torch.device
    cache_in: str
    streams: int = 1


class RoIBatches(contextlib.AbstractContextManager["RoIBatches"]):
    """Batches of some training RoIs; no other row of the cache is ever read.

    The epochs' permutations, each a pure function of (seed, epoch), follow one another, and a step takes the next
    ``rois_per_batch`` rows. Batches come from a thread that reads one step ahead, from disk or from memory, or from the
    GPU's memory; they are the same. What is kept and moved are features as they are stored, so those of an int8 cache
    take half of the memory; the device makes float16 of a batch.

    Several processes share each batch: one has the rows of :attr:`part`, and reads no others unless it keeps all.

    Args:
        rows: The rows of the cache's train group that may be drawn, ascending.
        supervision: What supervises them.
        drawing: How they are drawn.
        what: Their name in messages.
        stream: The number of this stream of batches; another one has other permutations.

    Attributes:
        part: Which rows of a batch this process has.
        share: How much of a batch that is, 0..1.

    Raises:
        ConfigError: A batch has fewer RoIs than there are processes.
        MachineError: They cannot be kept there.
    """

    def __init__(
        self,
        cache: RoICache,
        rows: NDArray[np.int64],
        supervision: Supervision,
        drawing: Drawing,
        *,
        what: str,
        rois_per_batch: int,
        stream: int,
    ) -> None:
        self.rows = rows
        self._cache, self._supervision, self._device = cache, supervision, drawing.device
        self._seed, self._stream = drawing.seed, (stream,) if stream else ()
        self.size = rois_per_batch
        if rois_per_batch < distributed.world_size():
            raise ConfigError(
                f"{rois_per_batch} RoIs cannot be shared out to {distributed.world_size()} processes.",
                "give more --rois-per-batch and --box-rois-per-batch, or start fewer processes",
            )
        self.part = distributed.part_of(rois_per_batch)
        count = self.part.stop - self.part.start
        self.share = count / rois_per_batch
        self._permutation: tuple[int, NDArray[np.int64]] = (-1, self.rows)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="roi-reader")
        self._next: tuple[int, Future[Batch]] | None = None
        # One batch is computed with while the next is read.
        kept = cache.dimensions.feature_columns("train").values()
        self._buffers = [[np.empty((count, *shape), dtype) for dtype, shape in kept] for _ in range(2)]
        row_bytes = cache.dimensions.feature_row_bytes("train") + sum(part.nbytes for part in supervision(rows[:1]))
        place = place_features(
            drawing.cache_in,
            num_bytes=len(self.rows) * row_bytes,
            device=drawing.device,
            what=what,
            streams=drawing.streams,
            processes=distributed.local_world_size(),
        )
        distributed.barrier()  # all have looked at what is free
        logger.info("Features of %s are taken from %s (%s).", what, place.name, place.reason)
        self._in_ram = cache.read_stored("train", self.rows) if place.name == "ram" else None
        self._resident = self._read_all() if place.name == "gpu" else None

    def __len__(self) -> int:
        return len(self.rows)

    def __exit__(self, *error: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def positions(self, step: int) -> NDArray[np.int64]:
        """Which of :attr:`rows` make the batch of a step: int64 [rois_per_batch], ascending."""
        wanted = np.arange(step * self.size, (step + 1) * self.size)
        epochs, offsets = np.divmod(wanted, len(self.rows))
        parts = [self._permuted(int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)]
        return np.sort(np.concatenate(parts))  # the order within a batch is free, and this one suits the disk

    def batch(self, step: int) -> Batch:
        """The batch of a step, or this process's part of it.

        Returns:
            HalfTensor[N, C, S, S] of features, int64 [N] of labels 1..K, and what supervises them, on the device. The
            features hold until the next batch is asked for.
        """
        if self._resident is not None:
            positions = torch.from_numpy(self.positions(step)[self.part]).to(self._device, non_blocking=True)
            columns = [column.index_select(0, positions) for column in self._resident]
        else:
            if self._next is None or self._next[0] != step:
                self._next = (step, self._reader.submit(self._read_step, step))
            columns = [column.to(self._device, non_blocking=True) for column in self._next[1].result()]
            self._next = (step + 1, self._reader.submit(self._read_step, step + 1))
        stored = len(self._cache.dimensions.feature_columns("train"))
        return as_float16(columns[:stored]), *columns[stored:]

    def _permuted(self, epoch: int) -> NDArray[np.int64]:
        known, permutation = self._permutation
        if known != epoch:
            permutation = np.random.default_rng((self._seed, epoch, *self._stream)).permutation(len(self.rows))
            self._permutation = (epoch, permutation)
        return permutation

    def _read_step(self, step: int) -> Batch:
        columns = self._read(self.positions(step)[self.part], self._buffers[step % len(self._buffers)])
        if self._device.type != "cuda":
            return columns
        return tuple(column.pin_memory() for column in columns)

    def _read(self, positions: NDArray[np.int64], buffers: Sequence[NDArray[Any]] | None = None) -> Batch:
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
            *map(torch.from_numpy, self._supervision(rows)),
        )

    def _read_all(self) -> Batch:
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


def mask_rois(cache: RoICache, seen: Collection[int], drawing: Drawing, *, rois_per_batch: int) -> RoIBatches:
    """Batches of the RoIs that masks supervise: features, labels, and binary targets, uint8 [N, M, M].

    Raises:
        CacheError: No category is seen, or the cache has no RoIs of one that is.
        MachineError: They cannot be kept there.
    """

    def targets(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        return (cache.read_targets(rows, "train"),)

    rows = mask_rows(cache, seen, drawing.rois)
    return RoIBatches(cache, rows, targets, drawing, what="RoIs with masks", rois_per_batch=rois_per_batch, stream=0)


def box_rois(
    cache: RoICache, seen: Collection[int], drawing: Drawing, *, rois_per_batch: int, colours: bool
) -> RoIBatches | None:
    """Batches of the RoIs that boxes supervise, none of which has a mask that may be used; None if there are none.

    A batch has features, labels, the object's box and the RoI's, both float32 [N, 4] in pixels, and, if they are asked
    for, colours, uint8 [N, M, M, 3].

    Raises:
        CacheError: The cache has no colours.
        MachineError: They cannot be kept there.
    """
    if colours:
        check_colours(cache)

    def boxes(rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        both = cache.train.object_boxes[rows], cache.train.boxes[rows]
        return (*both, cache.read_colours(rows)) if colours else both

    rows = box_rows(cache, seen, drawing.rois)
    if not len(rows):
        return None
    return RoIBatches(cache, rows, boxes, drawing, what="RoIs with boxes", rois_per_batch=rois_per_batch, stream=1)


def check_colours(cache: RoICache) -> None:
    """Check that the cache holds the colours of its RoIs.

    Raises:
        CacheError: It does not.
    """
    if not cache.dimensions.colours:
        raise CacheError(
            f"{cache.path} has no colours, which the pairwise loss compares.",
            "export again: maskx export-embeddings --colours --overwrite; or give --box-loss projection",
        )


def mask_rows(cache: RoICache, seen: Collection[int], rois: str = "both") -> NDArray[np.int64]:
    """The training rows whose masks may be used, ascending: of seen categories, and those that a teacher made of any.

    Args:
        rois: See :class:`Drawing`.

    Raises:
        CacheError: No category is seen, or the cache has no such RoIs of one that is.
    """
    if not seen:
        raise CacheError("No category is seen, so there is no mask to learn from.", "give another --split")
    if cache.identity.export.get(ONLY) is not None:
        raise CacheError(
            f"{cache.path} was exported with --only val, and holds nothing to fit to.",
            "export again with --overwrite and without --only",
        )
    labels = cache.train.labels
    usable = _may_be_used(cache, seen) & _of_kind(cache, rois)
    without = sorted(set(seen) - set(np.unique(labels[usable]).tolist()))
    if without:
        names = {category.label: category.name for category in cache.categories}
        absent = [names.get(label, f"label {label}") for label in without]
        if rois != "both":
            raise CacheError(
                f"{cache.path} holds no {rois} RoIs of seen categories: {listed(absent, 5)}.",
                "give --rois both, or export again with a larger --rois-per-object",
            )
        raise CacheError(
            f"{cache.path} holds no RoIs of seen categories: {listed(absent, 5)}.",
            "their training objects have no masks; leave them out with --split masked or --split @names.txt",
        )
    return np.flatnonzero(usable)


def box_rows(cache: RoICache, seen: Collection[int], rois: str = "both") -> NDArray[np.int64]:
    """The training rows of which only the box may be used: of unseen categories, and of objects without a mask."""
    return np.flatnonzero(~_may_be_used(cache, seen) & _of_kind(cache, rois))


def _may_be_used(cache: RoICache, seen: Collection[int]) -> NDArray[np.bool_]:
    own = np.isin(cache.train.labels, sorted(seen)) & (cache.train.has_mask != 0)
    usable: NDArray[np.bool_] = own | (cache.train.has_mask == TEACHER_MASK)
    return usable


def _of_kind(cache: RoICache, rois: str) -> NDArray[np.bool_]:
    own: NDArray[np.bool_] = (cache.train.boxes == cache.train.object_boxes).all(axis=1)
    return {"both": np.ones_like(own), "ground-truth": own, "proposals": ~own}[rois]
