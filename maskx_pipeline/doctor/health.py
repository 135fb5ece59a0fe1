"""The checks that every command makes before it works with a data set: nothing is opened but the annotation files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

import numpy as np

from maskx_pipeline.data.findings import Finding, accept, finding, log_findings, reading_findings
from maskx_pipeline.data.kinds import (
    ALIKE,
    BROKEN_MASK,
    CROWDED_IMAGE,
    LEAK,
    NAMELESS,
    NARROW,
    NO_MASKS,
    ONE_FILE,
    READINGS,
    misread,
)
from maskx_pipeline.data.masks import HOW_WRITTEN
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.doctor.boxes import box_findings
from maskx_pipeline.doctor.crowds import crowd_findings
from maskx_pipeline.doctor.masks import mask_findings
from maskx_pipeline.errors import CheckFailedError
from maskx_pipeline.text import shown

MOST_COUNTED = 100
"""Detections of an image and category that COCO's AP counts."""

_NOTHING_ACCEPTED: Mapping[str, str] = {}


def check_health(parts: Mapping[str, CocoData], *, longest: int | None = None) -> list[Finding]:
    """Look at data sets by their columns.

    Args:
        parts: By name: train, val, train masks, val masks.
        longest: Pixels of the longer side of an image as the detector gets it; None if it is not known.
    """
    found: list[Finding] = []
    for part, data in parts.items():
        if part in ("", "train"):  # the others have the same categories
            found += _names(data, part)
        boxes = box_findings(data, part)
        explained = any(one.kind in map(misread, READINGS) for one in boxes)
        found += [*boxes, *([] if explained else mask_findings(data, part))]
        found += [
            *_none_readable(data, part),
            *reading_findings(data, part),
            *crowd_findings(data, part),
            *_same_files(data, part),
            *_narrow(data, part, longest),
            *_full(data, part),
        ]
    return [*found, *_leaks(parts)]


def refuse_unsound(
    parts: Mapping[str, CocoData], *, accepted: Mapping[str, str] = _NOTHING_ACCEPTED, longest: int | None = None
) -> None:
    """Warn of what is wrong with data sets, and refuse what `maskx doctor` calls an error.

    Args:
        accepted: By kind, why it is right as it is.

    Raises:
        CheckFailedError: There is an error that is not accepted.
    """
    found = accept(check_health(parts, longest=longest), accepted)
    for part, data in parts.items():
        log_findings([one for one in found if one.part == part and not one.refuses], str(data.path))
    refused = [one for one in found if one.refuses]
    if refused:
        first = f"; the first: {refused[0].examples[0]}" if refused[0].examples else ""
        kinds = " ".join(f'--accept "{kind}"' for kind in dict.fromkeys(one.kind for one in refused))
        raise CheckFailedError(
            f"the data would spoil the result: {'; '.join(one.sentence() for one in refused)}{first}.",
            f"{refused[0].advice}. `maskx doctor` says more; if it is right as it is, give {kinds}, or write accept in "
            "[doctor] of maskx.toml",
        )


def _none_readable(data: CocoData, part: str) -> list[Finding]:
    """Masks are written, and not one of them can be read."""
    broken = [problem for problem in data.problems if problem.kind == BROKEN_MASK]
    if not broken or data.annotations().has_mask.any():
        return []
    said = f"none of the {len(broken)} masks that are written can be read"
    advice = f"{broken[0].message}. {HOW_WRITTEN}"
    boxes = len(data.annotations())
    return [finding(NO_MASKS, part, count=boxes, of=boxes, said=said, advice=advice)]


def _names(data: CocoData, part: str) -> list[Finding]:
    """Categories that nobody can tell apart by their names, or that have none."""
    by_name: dict[str, list[str]] = {}
    for category in data.categories:
        plain = " ".join(category.name.casefold().split())
        by_name.setdefault(plain, []).append(f"category {category.id} (`{category.name}`)")
    nameless = by_name.pop("", [])
    alike = [names for names in by_name.values() if len(names) > 1]
    found = []
    for kind, count, examples in (
        (ALIKE, sum(map(len, alike)), [" and ".join(names) for names in alike]),
        (NAMELESS, len(nameless), nameless),
    ):
        if count:
            found.append(finding(kind, part, count=count, of=len(data.categories), examples=examples))
    return found


def _same_files(data: CocoData, part: str) -> list[Finding]:
    times = Counter(image.file_name for image in data.images)
    if len(times) == len(data.images):
        return []
    again = [image for image in data.images if times[image.file_name] > 1]
    examples = [f"image {image.id} ({shown(image.file_name)})" for image in again]
    return [finding(ONE_FILE, part, count=len(again), of=data.listed.images, examples=examples)]


def _narrow(data: CocoData, part: str, longest: int | None) -> list[Finding]:
    """Images whose shorter side is less than a pixel when the longer one is made as small as it must be."""
    thin = [
        image
        for image in data.images
        if longest and min(image.width, image.height) * longest < max(image.width, image.height)
    ]
    if not thin:
        return []
    examples = [f"image {image.id} ({shown(image.file_name)}): {image.width}x{image.height} pixels" for image in thin]
    return [finding(NARROW, part, count=len(thin), of=len(data.images), examples=examples)]


def _full(data: CocoData, part: str) -> list[Finding]:
    """Images with more objects of a category than AP counts detections of."""
    table = data.annotations()
    plain = ~table.iscrowd
    images, labels = table.image_ids[plain], table.labels[plain].astype(np.int64)
    keys, counts = np.unique(images * (data.num_classes + 1) + labels, return_counts=True)
    full = Counter((keys[counts > MOST_COUNTED] // (data.num_classes + 1)).tolist())
    if not full:
        return []
    examples = [f"image {number} ({shown(data.image(number).file_name)})" for number in full]
    return [finding(CROWDED_IMAGE, part, count=len(full), of=len(data.images), examples=examples)]


def _leaks(parts: Mapping[str, CocoData]) -> list[Finding]:
    """Validation images that are the very files of training images."""
    found = []
    for train, val in (("train", "val"), ("train masks", "val masks")):
        if train in parts and val in parts:
            trained = set(_paths(parts[train]))
            both = [
                f"image {image.id} ({shown(image.file_name)}) is also in {train}"
                for image, path in zip(parts[val].images, _paths(parts[val]), strict=True)
                if path in trained
            ]
            if both:
                found.append(finding(LEAK, val, count=len(both), of=len(parts[val].images), examples=both))
    return found


def _paths(data: CocoData) -> list[str]:
    """Normalised as text: asking the disk for each file would take longer than all else."""
    folder = data.image_dir.resolve()
    return [os.path.normpath(folder / image.file_name) for image in data.images]
