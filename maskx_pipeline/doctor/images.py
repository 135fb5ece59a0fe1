"""What is wrong with the image files: opened one by one, their headers and ends read."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from maskx_pipeline.data.findings import Finding, finding
from maskx_pipeline.data.image_look import ImageLook, look_at_image, piece_of
from maskx_pipeline.data.kinds import COPIES, DARK, LARGE, LEAK, TURNED, UNUSABLE
from maskx_pipeline.data.records import CocoData, ImageRecord
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.text import shown


class _Seen(NamedTuple):
    part: str
    image: ImageRecord
    path: Path
    look: ImageLook

    def __str__(self) -> str:
        return f"image {self.image.id} ({shown(self.image.file_name)})"


def image_findings(parts: Mapping[str, CocoData]) -> list[Finding]:
    """Look at every image file of some data sets."""
    seen = [one for part, data in parts.items() for one in _look(part, data)]
    found = []
    for part, data in parts.items():
        of = len(data.images)
        here = [one for one in seen if one.part == part]
        broken = [one for one in here if one.look.fault]
        large = [f"image {one.image.id}: {one.look.fault}" for one in broken if one.look.too_large]
        faults = [f"image {one.image.id}: {one.look.fault}" for one in broken if not one.look.too_large]
        turned = [f"{one}: orientation {one.look.orientation}" for one in here if one.look.orientation != 1]
        dark = [f"{one}: values up to {one.look.largest}" for one in here if one.look.largest is not None]
        for kind, examples in ((UNUSABLE, faults), (LARGE, large), (TURNED, turned), (DARK, dark)):
            if examples:
                found.append(finding(kind, part, count=len(examples), of=of, examples=examples))
    return [*found, *_copies(seen, parts)]


def _look(part: str, data: CocoData) -> Iterable[_Seen]:
    with Progress(len(data.images), f"checking {data.image_dir.name}", "images") as bar:
        for image in data.images:
            path = data.image_path(image.id)
            yield _Seen(part, image, path, look_at_image(path, width=image.width, height=image.height))
            bar.update()


def _copies(seen: list[_Seen], parts: Mapping[str, CocoData]) -> list[Finding]:
    """The same picture in several files: within a part, and in training and validation."""
    again: dict[str, list[str]] = defaultdict(list)
    leaked: dict[str, list[str]] = defaultdict(list)
    for group in _same_content(seen):
        first = group[0]
        for one in group[1:]:
            if one.path == first.path:  # named elsewhere: the same file
                continue
            if one.part == first.part:
                again[one.part].append(f"{one} is {first}")
            elif one.part.startswith("val") and first.part == one.part.replace("val", "train"):
                leaked[one.part].append(f"{one} is {first} of {first.part}")
    return [
        finding(kind, part, count=len(named), of=len(parts[part].images), examples=named, said=said)
        for kind, found, said in ((COPIES, again, ""), (LEAK, leaked, "under another name"))
        for part, named in found.items()
    ]


def _same_content(seen: list[_Seen]) -> Iterable[list[_Seen]]:
    """Groups of equal files; few bytes are read of those that have a twin in size, and all of those that seem equal."""
    groups: list[list[_Seen]] = [[one for one in seen if one.look.fault is None]]
    for key in (_size, _piece, _digest):
        groups = [found for group in groups for found in _split(group, key)]
    return groups


def _split(group: list[_Seen], key: Callable[[_Seen], object]) -> list[list[_Seen]]:
    by_key: dict[object, list[_Seen]] = defaultdict(list)
    for one in group:
        by_key[key(one)].append(one)
    return [found for found in by_key.values() if len(found) > 1]


def _size(one: _Seen) -> int:
    return one.look.size


def _piece(one: _Seen) -> bytes:
    return piece_of(one.path, one.look.size)


def _digest(one: _Seen) -> bytes:
    with one.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
