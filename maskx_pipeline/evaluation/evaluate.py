"""AP of boxes and masks on a category set, and beside it on the seen and the unseen categories."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from maskx_pipeline.data.category_sets import count_masks
from maskx_pipeline.data.coco import CocoData
from maskx_pipeline.errors import RunError
from maskx_pipeline.evaluation.coco_ap import ApSummary, ApTable, Result, precision_table
from maskx_pipeline.evaluation.detection_limit import MOST_DETECTIONS
from maskx_pipeline.evaluation.figures import CategoryAp, Evaluation, SetAp
from maskx_pipeline.provenance.file_lists import check_listed
from maskx_pipeline.provenance.files import atomic_path


def evaluate_results(
    results: Sequence[Result],
    val: CocoData,
    *,
    split: str,
    labels: Collection[int],
    seen: Collection[int],
    model: Path | str = "",
    source: str = "cache",
    max_detections: int = MOST_DETECTIONS,
) -> Evaluation:
    """Measure COCO results of val.

    Args:
        results: With ``bbox`` and ``segmentation``.
        seen: Labels whose masks were used in training; all others are unseen.
        source: ``cache`` or ``images``, for the record.
        max_detections: The detections of an image and category that count, the best ones.
    """
    everything = frozenset(category.label for category in val.categories)
    sets = {split: frozenset(labels), "seen": frozenset(seen), "unseen": everything - frozenset(seen)}
    box = precision_table(val, results, labels=everything, iou_type="bbox", most=max_detections)
    mask = precision_table(val, results, labels=everything, iou_type="segm", most=max_detections)
    rows = tuple(SetAp(name, len(chosen), box.summary(chosen), mask.summary(chosen)) for name, chosen in sets.items())
    return Evaluation(
        model=str(model),
        source=source,
        split=split,
        images=len(val.images),
        detections=len(results),
        max_detections=max_detections,
        sets=rows,
        categories=_category_rows(val, labels=sets[split], seen=sets["seen"], box=rows[0].box, mask=mask),
    )


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write COCO results files, in the form that COCO's server and pycocotools take.

    There are two, because pycocotools would measure the size of a mask by its box if an entry had both: ``path`` holds
    the masks, and beside it ``<name>_bbox.json`` the boxes.
    """
    _write_list(boxes_path(path), [_without(result, "segmentation") for result in results])
    _write_list(path, [_without(result, "bbox") for result in results])


def read_results(path: Path) -> list[Result]:
    """Read what :func:`write_results` wrote: results with ``bbox`` and ``segmentation``.

    Raises:
        RunError: A file is missing or damaged, or the two do not belong together.
    """
    try:
        for file in (path, boxes_path(path)):
            check_listed(file)
        masks, boxes = (json.loads(file.read_text(encoding="utf-8")) for file in (path, boxes_path(path)))
        merged = [{**box, **mask} for box, mask in zip(boxes, masks, strict=True)]
        if all(_without(result, "segmentation") == box for result, box in zip(merged, boxes, strict=True)):
            return merged
        reason = "masks and boxes are of different detections"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error)
    raise RunError(f"{path} and {boxes_path(path).name} cannot be read: {reason}.", "evaluate with --overwrite")


def boxes_path(path: Path) -> Path:
    """The file of the boxes beside that of the masks."""
    return path.with_name(f"{path.stem}_bbox{path.suffix}")


def _write_list(path: Path, entries: Sequence[Result]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        lines = (json.dumps(entry, ensure_ascii=False) for entry in entries)
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def _without(result: Result, key: str) -> Result:
    return {name: value for name, value in result.items() if name != key}


def _category_rows(
    val: CocoData, *, labels: Collection[int], seen: Collection[int], box: ApSummary, mask: ApTable
) -> tuple[CategoryAp, ...]:
    annotations = val.annotations()
    objects = Counter(annotations.labels[~annotations.iscrowd].tolist())
    masks = count_masks(val)
    figures = {label: mask.figures_of(label) for label in labels}
    return tuple(
        CategoryAp(
            label=category.label,
            id=category.id,
            name=category.name,
            seen=category.label in seen,
            objects=objects[category.label],
            masks=masks[category.label],
            box=box.per_category[category.label],
            mask=figures[category.label][0],
            mask_figures=figures[category.label],
            mask_recall=mask.recall_of(category.label),
        )
        for category in val.categories
        if category.label in labels
    )
