"""Which masks of a data set the quality of `maskx annotate` is measured on."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from maskx_pipeline.data.records import Annotation, CocoData


def masks_of_known(data: CocoData, labels: Collection[int]) -> dict[int, list[Annotation]]:
    """The masks that can be compared with, by image id: no crowds, and of categories that the model knows."""
    work: dict[int, list[Annotation]] = {}
    for annotation in (a for image in data.images for a in data.annotations_of(image.id)):
        if annotation.has_mask and not annotation.iscrowd and annotation.label in labels:
            work.setdefault(annotation.image_id, []).append(annotation)
    return work


def some_of(work: dict[int, list[Annotation]], most: int | None) -> dict[int, list[Annotation]]:
    """Images in a fixed random order until they hold so many masks; all if None."""
    if most is None or sum(map(len, work.values())) <= most:
        return work
    order = np.random.RandomState(0).permutation(len(work))
    ids = list(work)
    taken: dict[int, list[Annotation]] = {}
    masks = 0
    for index in order:
        if masks >= most:
            break
        taken[ids[index]] = work[ids[index]]
        masks += len(work[ids[index]])
    return taken
