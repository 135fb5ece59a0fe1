"""Training masks by a teacher, for the boxes that have none or for all of them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskx_pipeline.data.coco import Annotation, CocoData, ImageRecord
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.engine.sharing import by_main, shared_out
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.provenance.files import partial_path, remove_file
from maskx_pipeline.provenance.journal import Journal, is_unfinished
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.made_from import MadeFrom, finished_note, noted_path, read_note, report_path
from maskx_pipeline.teachers.segment import BoxMask, segment_images
from maskx_pipeline.teachers.teacher import Teacher

logger = logging.getLogger("maskx")


def write_teacher_annotations(
    teacher: Teacher,
    train: CocoData,
    *,
    out: Path,
    keep: Collection[int],
    source: str,
    workers: int,
    overwrite: bool = False,
) -> Path:
    """Copy the training annotation file, with a teacher's mask for each object that has none, cut off at its box.

    Such a mask has the key ``mask_source``, by which it is trained on and never taken for truth. Crowds stay as they
    are, and so do all other keys, the ids and the order. Interrupted, it goes on where it stopped. Several processes
    share the images; the main one writes.

    Args:
        train: As `read_coco` reads it without masks by teachers, so that these are replaced.
        keep: Labels whose own masks are kept. An entry of another category that maskx does not read (see
            ``maskx doctor``) loses its mask, so that no true one is left.
        source: What stands in ``mask_source``.
        workers: Threads, an image each.

    Returns:
        ``out``; beside it the report.

    Raises:
        ConfigError: ``out`` is the training annotation file itself.
        OutputError: The file exists and is by another teacher or from other data.
        DataError: An image cannot be read, or the teacher gives something else than masks.
    """
    made_from = {"teacher": teacher.identity, "keep": sorted(keep), "train annotations": train.digest}
    if out.resolve() == train.path.resolve():
        raise ConfigError(f"{out} is the training annotation file itself.", "give another file with --out")

    def is_finished() -> bool:
        finished = finished_note(report_path(out), out, made_from, overwrite=overwrite)
        return finished is not None and not is_unfinished(out, made_from)

    def begun() -> Journal:
        journal = Journal(partial_path(out), made_from, overwrite=overwrite)
        journal.begin()
        return journal

    with by_main(locked(out)):
        if distributed.on_main(is_finished):
            logger.info("%s is finished and unchanged.", out)
            return out
        journal = distributed.on_main(begun)
        _fill(journal, teacher, train, keep=keep, workers=workers)
        distributed.on_main(lambda: _write(journal, train, out, made_from, keep=keep, source=source))
    return out


def _write(
    journal: Journal, train: CocoData, out: Path, made_from: MadeFrom, *, keep: Collection[int], source: str
) -> None:
    masks = {entry["id"]: BoxMask(entry["segmentation"], entry["found"]) for entry in journal.masks()}
    kept_ids = {category.id for category in train.categories if category.label in keep}
    content = json.loads(train.path.read_bytes())
    own = 0
    for entry in content["annotations"]:
        mask = masks.get(entry["id"])
        if entry.get("segmentation", []) is None:
            entry["segmentation"] = []  # some importers refuse a null
        if entry.get("iscrowd"):
            continue
        if mask is not None:
            entry.update(segmentation=mask.segmentation, mask_source=source)
        elif entry["category_id"] in kept_ids:
            own += 1
        else:
            entry.pop("segmentation", None)
    whole = sum(not mask.found for mask in masks.values())
    counts = {"objects": len(masks), "whole boxes": whole, "own masks": own}
    with noted_path(out, report_path(out), made_from, counts) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    remove_file(partial_path(out))
    logger.info(
        "%s: masks by %s of %d objects; for %d of them it found nothing, and the mask is the whole box. %d have their "
        "own mask.", out, source, len(masks), whole, own,
    )  # fmt: skip


def read_teacher_report(out: Path) -> dict[str, Any]:
    """What was counted, for ``--json``."""
    return read_note(report_path(out)) or {}


def _fill(journal: Journal, teacher: Teacher, train: CocoData, *, keep: Collection[int], workers: int) -> None:
    """Ask for the mask of each object that is no crowd and keeps none of its own, as far as it is not there."""

    def is_taught(annotation: Annotation) -> bool:
        return not annotation.iscrowd and not (annotation.has_mask and annotation.label in keep)

    objects = {image.id: [o for o in train.annotations_of(image.id) if is_taught(o)] for image in train.images}
    chosen = [image for image in train.images if objects[image.id]]
    left = [image for image in chosen if image.id not in journal.done]

    def of_images(images: Sequence[ImageRecord]) -> Iterator[list[dict[str, Any]]]:
        work = ((image, [o.id for o in objects[image.id]], [o.box_xyxy for o in objects[image.id]]) for image in images)
        with contextlib.closing(segment_images(teacher, train, work, workers=workers, cut=True)) as segmented:
            for _, ids, found in segmented:
                yield [{"id": n, **asdict(mask)} for n, mask in zip(ids, found, strict=True)]

    with (
        Progress(len(chosen), "the teacher's masks", "images", initial=len(chosen) - len(left)) as bar,
        contextlib.closing(shared_out(left, of_images)) as shared,
    ):
        for image, masks in zip(left, shared, strict=distributed.is_main()):
            journal.add(image.id, masks)
            bar.update(1)
