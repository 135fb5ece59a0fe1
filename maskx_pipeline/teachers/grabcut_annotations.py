"""A training set whose masks are GrabCut's: what Mask R-CNN trained on GrabCut masks is trained on."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

from maskx_pipeline.config import GrabCutConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.provenance.made_from import finished_note, read_note, report_path, write_note
from maskx_pipeline.teachers.grabcut import BoxForeground, GrabCut, segment_images

logger = logging.getLogger("maskx")


def write_grabcut_annotations(config: GrabCutConfig, train: CocoData, *, overwrite: bool = False) -> Path:
    """Copy the training annotation file, with GrabCut's foreground of its box as the mask of each object.

    Crowds stay as they are, and so do all other keys, the ids and the order. An entry that maskx does not read (see
    ``maskx doctor``) loses its mask, so that no true one is left.

    Returns:
        ``config.out``; beside it the report.

    Raises:
        OutputError: The file exists and is of other settings or data.
        DataError: An image cannot be read.
        MachineError: OpenCV is not installed.
    """
    made_from = {**config.identity(), "train annotations": train.digest}
    if config.out.resolve() == train.path.resolve():
        raise DataError(f"{config.out} is the training annotation file itself.", "give another file with --out")
    if finished_note(report_path(config.out), config.out, made_from, overwrite=overwrite):
        logger.info("%s is finished and unchanged.", config.out)
        return config.out
    grabcut = GrabCut(iterations=config.iterations, context=config.context, seed=config.seed)
    masks = _masks(grabcut, train, workers=config.workers)
    content = json.loads(train.path.read_bytes())
    for entry in content["annotations"]:
        if not entry.get("iscrowd"):
            mask = masks.get(entry["id"])
            entry.pop("segmentation", None) if mask is None else entry.update(segmentation=mask.segmentation)
    whole = sum(not mask.found for mask in masks.values())
    with atomic_path(config.out) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    content = {"objects": len(masks), "whole boxes": whole, "opencv": grabcut.version}
    write_note(report_path(config.out), config.out, made_from, content)
    logger.info(
        "%s: GrabCut masks of %d objects; for %d of them it found nothing, and the mask is the whole box",
        config.out, len(masks), whole,
    )  # fmt: skip
    return config.out


def read_grabcut_report(out: Path) -> dict[str, Any]:
    """What was counted, for ``--json``."""
    return read_note(report_path(out)) or {}


def _masks(grabcut: GrabCut, train: CocoData, *, workers: int) -> dict[int, BoxForeground]:
    """The mask of each object that is no crowd, by annotation id."""
    objects = {image.id: [o for o in train.annotations_of(image.id) if not o.iscrowd] for image in train.images}
    work = (
        (image, [o.id for o in objects[image.id]], [o.box_xyxy for o in objects[image.id]]) for image in train.images
    )
    masks: dict[int, BoxForeground] = {}
    with (
        Progress(len(train.images), "GrabCut", "images") as bar,
        contextlib.closing(segment_images(grabcut, train, work, workers=workers)) as segmented,
    ):
        for _, ids, found in segmented:
            masks.update(zip(ids, found, strict=True))
            bar.update(1)
    return masks
