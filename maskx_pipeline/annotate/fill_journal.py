"""Predicting the masks that an annotation file lacks: image by image, to be interrupted at any point."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from maskx_pipeline.annotate.fill_masks import Opinion, fill_masks
from maskx_pipeline.annotate.mask_gaps import MaskGaps
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.engine.sharing import shared_out
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.journal import Journal
from maskx_pipeline.whole_model import WholeModel

logger = logging.getLogger("maskx")

_NAMED = 10  # unreadable images named one by one; the report has all of them


@dataclass(frozen=True, slots=True)
class UnreadableImage:
    """An image whose annotations stay without masks."""

    file_name: str
    reason: str
    annotations: int


def fill_journal(
    model: WholeModel,
    data: CocoData,
    gaps: MaskGaps,
    *,
    journal: Journal,
    labels: Mapping[int, int],
    mask_format: str,
    speck_share: float,
    opinion: Opinion | None = None,
    by_teacher: Mapping[int, float] = MappingProxyType({}),
) -> list[UnreadableImage]:
    """Predict the masks that are not in the journal yet.

    Several processes share the images; the main one alone writes the journal, in the order of one process.

    Args:
        journal: Holds what an earlier, interrupted call has done, by as many processes or by others.
        labels: The model's label of each label of ``data`` that it knows.
        mask_format: ``polygons`` or ``rle``.
        speck_share: Parts below this share of their mask are left out.
        opinion, by_teacher: See `fill_masks`.

    Raises:
        DataError: No image can be read. One among others is named, and its annotations stay as they are.
    """

    def fill(image_id: int) -> list[dict[str, Any]] | DataError:
        annotations = gaps.work[image_id]
        chosen = [labels[annotation.label] for annotation in annotations]
        try:
            masks = fill_masks(
                model,
                data,
                annotations,
                chosen,
                mask_format=mask_format,
                speck_share=speck_share,
                opinion=opinion,
                by_teacher=by_teacher,
            )
            return [asdict(mask) for mask in masks]
        except DataError as error:
            return error

    todo = [image_id for image_id in gaps.work if image_id not in journal.done]
    unreadable: list[UnreadableImage] = []
    first: DataError | None = None
    if journal.done:
        logger.info("%d of %d images were done before.", len(journal.done), len(gaps.work))
    with Progress(len(gaps.work), "annotate", "images", initial=len(journal.done)) as bar:
        shared = shared_out(todo, lambda some: map(fill, some))
        for image_id, made in zip(todo, shared, strict=distributed.is_main()):
            if isinstance(made, DataError):
                count = len(gaps.work[image_id])
                if len(unreadable) < _NAMED:
                    logger.warning("%s Its %d annotations are left as they are.", made.message, count)
                image = data.image(image_id)
                unreadable.append(UnreadableImage(image.file_name, made.message, count))
                first = first or made
            else:
                journal.add(image_id, made)
            bar.update(1)

    def outcome() -> list[UnreadableImage]:
        if first is not None and not journal.done:
            raise first
        return unreadable

    return distributed.on_main(outcome)
