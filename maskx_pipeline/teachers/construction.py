"""The teacher of a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskx_pipeline.config import TEACHERS, TeacherSettings
from maskx_pipeline.config.teachers import SAM_WEIGHTS
from maskx_pipeline.data.masks import TEACHER
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.own_class import import_class
from maskx_pipeline.settings import class_of, digest_of
from maskx_pipeline.teachers.segment import Box, segment_boxes
from maskx_pipeline.teachers.teacher import Teacher

_NEEDED = ("identity", "masks")


@dataclass(frozen=True, slots=True)
class AskedTeacher:
    """The teacher that was asked for.

    Attributes:
        name: What it is called in tables and folders: a class by its own name.
        source: What stands in ``mask_source`` of its masks, by which they are known as no truth.
        workers: Threads, an image each.
    """

    name: str
    source: str
    teacher: Teacher
    workers: int

    def opinion(self, pixels: NDArray[np.uint8], boxes_xyxy: Sequence[Box]) -> list[dict[str, Any] | None]:
        """Its masks of an image, cut off at their boxes, as RLE; None where it finds nothing."""
        masks = segment_boxes(self.teacher, pixels, boxes_xyxy, cut=True)
        return [mask.segmentation if mask.found else None for mask in masks]


def ask_teacher(
    name: str, settings: TeacherSettings, *, device: str = "auto", option: str = "--teacher"
) -> AskedTeacher:
    """Build a teacher; its libraries are imported here and not before.

    Args:
        name: One of `TEACHERS`, or a class that the user has named, which is called without arguments.
        device: Of SAM; ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        option: That named it, for the messages.

    Raises:
        ConfigError: There is no such teacher, or the class is none.
        MachineError: A library is not installed, or there is no such device.
        WeightsError: The weights are not there, or of another model.
    """
    teacher = _made(name, settings, device, option)
    short = teacher_name(name)
    workers = settings.grabcut.workers if name == "grabcut" else 1
    return AskedTeacher(short, f"{TEACHER}{short}#{digest_of(teacher.identity)[:12]}", teacher, workers)


def teacher_name(name: str) -> str:
    """How a teacher is called in tables and folders."""
    return name.rpartition(":")[2]


def _made(name: str, settings: TeacherSettings, device: str, option: str) -> Teacher:
    if name == "grabcut":
        from maskx_pipeline.teachers.grabcut import GrabCut

        grabcut = settings.grabcut
        return GrabCut(iterations=grabcut.iterations, context=grabcut.context, seed=grabcut.seed)
    if name in SAM_WEIGHTS:
        from maskx_pipeline.engine.device import amp_dtype, resolve_device
        from maskx_pipeline.teachers.sam import Sam

        sam = settings.sam
        at = resolve_device(device)
        return Sam(
            kind="sam" if name == "sam" else "sam2",
            weights=sam.weights or SAM_WEIGHTS[name],
            revision=sam.revision,
            device=at,
            amp_dtype=amp_dtype(sam.amp, at),
            boxes_per_batch=sam.boxes_per_batch,
        )
    if class_of(Path(name)) is None:
        raise ConfigError(
            f"there is no teacher `{name}`.",
            f"known: {', '.join(TEACHERS)}; or a class of your own: {option} package.module:Name or FILE.py:Name",
        )
    made = import_class(Path(name), option=option)
    try:
        teacher: Teacher = made()
    except TypeError as error:
        raise ConfigError(f"{name} cannot be made: {error}.", "a teacher's class takes no arguments") from error
    if missing := [needed for needed in _NEEDED if not hasattr(teacher, needed)]:
        raise ConfigError(
            f"{name} is no teacher: it has no {', '.join(missing)}.", "docs/how-to/t-or-sam.md says what a teacher has"
        )
    return teacher
