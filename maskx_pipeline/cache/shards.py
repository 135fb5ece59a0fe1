"""The shards of an export by several processes: which images each has, and who goes on with what.

An export goes on with any number of processes. Where there are as many as unfinished shards, and these have all images
that are missing, each goes on with one. Else what an unfinished shard has becomes a finished one, and the images that
are missing are shared out anew.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.cache.layout import share_of
from maskx_pipeline.cache.reader import RoICache
from maskx_pipeline.cache.restructure import redo_path
from maskx_pipeline.cache.schema import CacheIdentity
from maskx_pipeline.cache.validation import open_cache_file
from maskx_pipeline.cache.writer import RoICacheWriter, discard_partial
from maskx_pipeline.errors import CacheError
from maskx_pipeline.provenance.files import move_into_place, partial_path
from maskx_pipeline.provenance.made_from import AGAIN, text_of

logger = logging.getLogger("maskx")

Images = NDArray[np.int64]
"""Places in the order of an export, ascending: images of train that have a chosen object, then those of val."""


@dataclass(frozen=True)
class Share:
    """What one process writes: a file, and the images of it."""

    path: Path
    images: Images


@dataclass(frozen=True)
class _Unfinished:
    share: Share
    done: int

    @property
    def rest(self) -> Images:
        return self.share.images[self.done :]


def shard_path(path: Path, number: int) -> Path:
    """The file of one of the shards of the cache ``path``; they are numbered from 0."""
    return path.with_name(f"{path.stem}.shard-{number}{path.suffix}")


def shards_of(path: Path) -> list[Path]:
    """The shards that are there, finished or not, by their numbers, each by the name that it has when finished."""
    return [shard_path(path, number) for number in _numbers(path)]


def files_of(out: Path) -> list[Path]:
    """All that an export of this name may have left, but for its temporary files."""
    return [file for path in [out, *shards_of(out)] for file in (path, *_beginnings(path))]


def temporaries_of(out: Path) -> list[str]:
    """The names whose temporary files a killed export of this name may have left."""
    pattern = re.compile(rf"\.({_pattern(out).pattern})\.[0-9a-f]{{8}}\.tmp")
    of_shards = {found[1] for file in _names(out) if (found := pattern.fullmatch(file))}
    return [out.name, *(file.name for file in _beginnings(out)), *sorted(of_shards)]


def share_out(out: Path, processes: int, *, identity: CacheIdentity, train_images: int, val_images: int) -> list[Share]:
    """Look at what is there of an unfinished export, and say what each process writes now.

    Changes what is there where the images are shared out anew. For the main process alone.

    Returns:
        A share for each process, ``out`` itself where one writes the whole; fewer, or none, where less is missing.

    Raises:
        CacheError: What is there was made from something else, is damaged, or is being written.
    """
    every = np.arange(train_images + val_images)
    if processes == 1 and not shards_of(out):
        return [Share(out, every)]
    _make_a_shard_of_the_whole(out, identity)
    finished, unfinished = _look_at(shards_of(out), identity, every)
    done = _together([share.images for share in finished] + [one.share.images[: one.done] for one in unfinished], out)
    missing = np.setdiff1d(every, done)
    if len(unfinished) == processes and np.array_equal(_together([one.rest for one in unfinished], out), missing):
        return [one.share for one in unfinished]
    for one in unfinished:
        _close(one.share.path, one.done, identity)
    if len(done) and len(missing):
        others = f"{processes} processes share" if processes > 1 else "one process does"
        logger.info("%s: %d of %d images were done before; %s the others.", out, len(done), len(every), others)
    number = _next_number(out)
    if processes == 1 and not number:
        return [Share(out, every)]
    parts = [_part(missing, train_images, process, processes) for process in range(processes)]
    wanted = [part for part in parts if len(part)] or ([] if number else [missing])
    return [Share(shard_path(out, number + n), part) for n, part in enumerate(wanted)]


def finished_shards(out: Path, *, identity: CacheIdentity, images: int) -> list[Path]:
    """The shards, when all processes are done.

    Raises:
        CacheError: They do not have each image once.
    """
    every = np.arange(images)
    finished, unfinished = _look_at(shards_of(out), identity, every)
    done = _together([share.images for share in finished], out)
    if unfinished or len(done) < images:
        raise CacheError(
            f"the shards of {out} have {len(done)} of {images} images.",
            "give the same command again; it writes those that are missing",
        )
    return [share.path for share in finished]


def _make_a_shard_of_the_whole(out: Path, identity: CacheIdentity) -> None:
    """What one process had begun to write as the cache itself becomes a shard."""
    if partial_path(out).exists():
        RoICacheWriter.resume(out, identity=identity).close()  # with what a kill has interrupted
        move_into_place(partial_path(out), partial_path(shard_path(out, _next_number(out))))


def _look_at(paths: Sequence[Path], identity: CacheIdentity, every: Images) -> tuple[list[Share], list[_Unfinished]]:
    finished, unfinished = [], []
    for path in paths:
        if path.exists():
            with RoICache(path) as cache:
                if different := cache.identity.differences(identity):
                    raise CacheError(text_of(f"{path} was made from something else", different), AGAIN)
            with open_cache_file(path) as file:
                share = share_of(file)
            finished.append(Share(path, every if share is None else share))
        elif partial_path(path).exists():
            with RoICacheWriter.resume(path, identity=identity) as writer:
                share = every if writer.share is None else writer.share
                done = len(share) if writer.is_complete else writer.images_done
            unfinished.append(_Unfinished(Share(path, share), done))
    return finished, unfinished


def _close(path: Path, done: int, identity: CacheIdentity) -> None:
    if not done:
        discard_partial(path)
        return
    with RoICacheWriter.resume(path, identity=identity) as writer:
        writer.finish_early()


def _together(parts: Sequence[Images], out: Path) -> Images:
    """The images of several shares, ascending.

    Raises:
        CacheError: One is in two of them.
    """
    images = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts]))
    if (np.diff(images) == 0).any():
        raise CacheError(f"two shards of {out} have the same images.", "give --overwrite to start it again")
    return images


def _part(images: Images, first_val: int, process: int, processes: int) -> Images:
    """A run of the images of train and one of those of val."""
    parts = []
    for some in (images[images < first_val], images[images >= first_val]):
        first, end = (len(some) * number // processes for number in (process, process + 1))
        parts.append(some[first:end])
    return np.concatenate(parts)


def _beginnings(path: Path) -> tuple[Path, Path]:
    """What there is of a file before it has its name."""
    return partial_path(path), redo_path(partial_path(path))


def _numbers(path: Path) -> list[int]:
    return sorted({int(found[1]) for file in _names(path) if (found := _pattern(path).fullmatch(file))})


def _next_number(path: Path) -> int:
    return max(_numbers(path), default=-1) + 1


def _pattern(path: Path) -> re.Pattern[str]:
    """Of the names of shards, finished or not, with their numbers."""
    return re.compile(
        rf"{re.escape(path.stem)}\.shard-(\d+){re.escape(path.suffix)}(?:\.partial(?:\.redo)?)?", re.ASCII
    )


def _names(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
