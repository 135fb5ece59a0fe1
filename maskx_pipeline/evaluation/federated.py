"""Data sets in which only some categories were looked for in an image, as in LVIS."""

from __future__ import annotations

import codecs
import functools
import logging
import mmap
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from maskx_pipeline.data.coco import CocoData

logger = logging.getLogger("maskx")

_KEY = b'"neg_category_ids"'


class _Image(msgspec.Struct, gc=False):
    id: int
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] | None = None


class _Images(msgspec.Struct):
    images: list[_Image]


@dataclass(frozen=True, slots=True)
class Federated:
    """What was looked for in which image.

    Attributes:
        absent: Label to the ids of the images in which there is nothing of it.
        not_exhaustive: Label to the ids of the images in which not all objects of it are annotated.
    """

    absent: Mapping[int, frozenset[int]]
    not_exhaustive: Mapping[int, frozenset[int]]


def federated_of(data: CocoData) -> Federated | None:
    """What the images of an annotation file say about it; None where they say nothing, and all was looked for."""
    entries = _read(data.path, data.digest)
    if entries is None:
        return None
    absent: dict[int, set[int]] = defaultdict(set)
    not_exhaustive: dict[int, set[int]] = defaultdict(set)
    for image in entries:
        for ids, found in (
            (image.neg_category_ids, absent),
            (image.not_exhaustive_category_ids, not_exhaustive),
        ):
            for category_id in ids or ():
                if category_id in data.labels_in_file:
                    found[data.labels_in_file[category_id]].add(image.id)
    return Federated(*({label: frozenset(ids) for label, ids in one.items()} for one in (absent, not_exhaustive)))


@functools.lru_cache(maxsize=2)
def _read(path: Path, digest: str) -> tuple[_Image, ...] | None:
    """The entries of the images, where the file has the key at all; ``digest`` tells files of one name apart."""
    if not path.is_file() or not path.stat().st_size:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        if raw.find(_KEY) < 0:
            return None
        start = len(codecs.BOM_UTF8) if raw[:3] == codecs.BOM_UTF8 else 0
        try:
            found = msgspec.json.decode(memoryview(raw[start:]), type=_Images).images
        except msgspec.MsgspecError:
            return None
    if not any(image.neg_category_ids is not None for image in found):
        return None
    logger.info("%s says what was looked for in an image: a category is measured in these images alone.", path)
    return tuple(found)
