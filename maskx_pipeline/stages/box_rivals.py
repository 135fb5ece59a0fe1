"""What masks at the true boxes of val are measured beside: shapes in the box, class-agnostic runs, and a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import RunError
from maskx_pipeline.evaluation.box_iou import MODEL, BoxIou
from maskx_pipeline.evaluation.box_iou_file import newest_box_iou, read_box_iou, write_box_iou
from maskx_pipeline.evaluation.box_masks import Rle, masks_from_file, measure_box_iou, shapes_in_boxes
from maskx_pipeline.model_run import ModelRun
from maskx_pipeline.provenance.run_folder import read_run


def with_rivals(
    val: CocoData,
    folder: Path,
    *,
    masks: Callable[[], Mapping[int, Rle]],
    identity: str,
    model: ModelRun | None = None,
    against: Path | None = None,
) -> BoxIou:
    """Measure masks at the true boxes of val, or read what was measured, beside their rivals.

    Args:
        folder: Of the evaluation; what is measured is kept there.
        masks: Makes the masks by annotation id, where they have not been measured.
        identity: Changes when the masks do.
        model: Whose masks they are; then the class-agnostic runs beside it are rivals too.
        against: A file with other masks of the same boxes.

    Raises:
        DataError: The file of other masks cannot be read or has none of these boxes.
    """
    others = {} if against is None else {str(against): masks_from_file(against, val)}
    found = read_box_iou(folder, val_digest=val.digest, identity=identity)
    if found is None:
        found = measure_box_iou(val, {MODEL: masks(), **shapes_in_boxes(val, masked=True)})
        write_box_iou(folder, found, val_digest=val.digest, identity=identity)
    rivals = {} if model is None else dict(_class_agnostic(model, val))
    if others:
        rivals |= measure_box_iou(val, others).by_object()
    return found.beside(rivals)


def _class_agnostic(model: ModelRun, val: CocoData) -> Iterator[tuple[str, dict[int, float]]]:
    """The class-agnostic runs beside this one that were trained on the masks of the same categories."""
    seen = {category.id for category in model.categories if category.label in model.seen}
    here = model.folder.resolve()
    for folder in sorted(path for path in here.parent.iterdir() if path.is_dir() and path != here):
        try:
            content = read_run(folder)
        except RunError:
            continue
        config = content.get("transfer") or content["config"]
        agnostic = config.get("embedding") == "none" and not config.get("class_specific")
        if agnostic and set(content.get("seen", ())) == seen:
            found = newest_box_iou(folder, val_digest=val.digest)
            if found is not None:
                yield f"the class-agnostic {folder.name}", found.by_object()[MODEL]
