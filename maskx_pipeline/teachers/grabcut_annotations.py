"""A training set whose masks are GrabCut's: what Mask R-CNN trained on GrabCut masks is trained on."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

from maskx_pipeline.config import GrabCutConfig
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.engine.progress import progress
from maskx_pipeline.errors import DataError
from maskx_pipeline.provenance.files import atomic_path, sha256_of_file, write_json
from maskx_pipeline.teachers.grabcut import BoxForeground, GrabCut, segment_images

logger = logging.getLogger("maskx")


def report_path(out: Path) -> Path:
    """The report beside the annotation file: what was written, from what."""
    return out.with_name(f"{out.stem}.report.json")


def write_grabcut_annotations(config: GrabCutConfig, train: CocoData, *, overwrite: bool = False) -> Path:
    """Copy the training annotation file, with GrabCut's foreground of its box as the mask of each object.

    Crowds stay as they are, and so do all other keys, the ids and the order. An entry that maskx does not read (see
    ``maskx doctor``) loses its mask, so that no true one is left.

    Returns:
        ``config.out``; beside it the report of :func:`report_path`.

    Raises:
        DataError: The file exists and is of other settings or data, or an image cannot be read.
        MachineError: OpenCV is not installed.
    """
    origin = {"settings": config.identity(), "train annotations": train.digest}
    if config.out.exists() and _report_of(config.out).get("origin") == origin and not overwrite:
        logger.info("%s is already written", config.out)
        return config.out
    if config.out.resolve() == train.path.resolve():
        raise DataError(f"{config.out} is the training annotation file itself.", "give another file with --out")
    if config.out.exists() and not overwrite:
        raise DataError(
            f"{config.out} exists, and is not made with these settings from {train.path}.",
            "give --overwrite to replace it, or another file with --out",
        )
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
    counts = {"objects": len(masks), "whole boxes": whole}
    written = {"written": sha256_of_file(config.out), "opencv": grabcut.version}
    write_json(report_path(config.out), {"origin": origin, **counts, **written})
    logger.info(
        "%s: GrabCut masks of %d objects; for %d of them it found nothing, and the mask is the whole box",
        config.out, len(masks), whole,
    )  # fmt: skip
    return config.out


def read_grabcut_report(out: Path) -> dict[str, Any]:
    """What was counted, for ``--json``."""
    return _report_of(out)


def _masks(grabcut: GrabCut, train: CocoData, *, workers: int) -> dict[int, BoxForeground]:
    """The mask of each object that is no crowd, by annotation id."""
    objects = {image.id: [o for o in train.annotations_of(image.id) if not o.iscrowd] for image in train.images}
    work = (
        (image, [o.id for o in objects[image.id]], [o.box_xyxy for o in objects[image.id]]) for image in train.images
    )
    masks: dict[int, BoxForeground] = {}
    with (
        progress(len(train.images), "GrabCut", "images") as bar,
        contextlib.closing(segment_images(grabcut, train, work, workers=workers)) as segmented,
    ):
        for _, ids, found in segmented:
            masks.update(zip(ids, found, strict=True))
            bar.update(1)
    return masks


def _report_of(out: Path) -> dict[str, Any]:
    """The report, or nothing where there is none or the annotation file has changed since."""
    try:
        report = json.loads(report_path(out).read_text(encoding="utf-8"))
        return dict(report) if report["written"] == sha256_of_file(out) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
