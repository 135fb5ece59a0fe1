"""What a person looks at first: the filled masks as a table, those on which model and teacher disagree most on top."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from maskx_pipeline.annotate.fill_masks import FilledMask
from maskx_pipeline.data.records import Annotation, CocoData
from maskx_pipeline.provenance.files import atomic_path

_COLUMNS = ("file_name", "annotation_id", "category", "mask_confidence", "mask_agreement", "mask_by")


def worklist_path(out: Path) -> Path:
    """The table beside the annotation file."""
    return out.with_name(f"{out.stem}.worklist.csv")


def write_worklist(
    path: Path, data: CocoData, annotations: Iterable[Annotation], masks: Mapping[int, FilledMask], *, teacher: str
) -> None:
    """Write a line for each of these annotations that has a mask, least agreement first, then least confidence."""
    found = [(annotation, masks[annotation.id]) for annotation in annotations if annotation.id in masks]
    found.sort(key=lambda pair: (pair[1].agreement or 0, pair[1].confidence, pair[0].id))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for annotation, mask in found:
            names = data.image(annotation.image_id).file_name, annotation.id, data.category(annotation.label).name
            writer.writerow((*names, mask.confidence, mask.agreement, teacher if mask.by_teacher else "model"))
