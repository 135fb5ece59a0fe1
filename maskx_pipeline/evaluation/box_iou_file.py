"""The file in which an evaluation keeps the mask IoU of each object, so that runs are compared object by object."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from maskx_pipeline.evaluation.box_iou import BoxIou
from maskx_pipeline.provenance.files import write_json
from maskx_pipeline.provenance.seals import read_json_file

BOX_IOU_FILE = "box-iou.json"
_COLUMNS = ("annotation_ids", "image_ids", "labels")


def write_box_iou(folder: Path, box_iou: BoxIou, *, val_digest: str, identity: str) -> None:
    """Keep what was measured in the folder of an evaluation.

    Args:
        identity: Changes when the masks do.
    """
    columns = {name: getattr(box_iou, name).tolist() for name in _COLUMNS}
    ious = {
        source: [None if math.isnan(iou) else iou for iou in values.tolist()] for source, values in box_iou.ious.items()
    }
    write_json(folder / BOX_IOU_FILE, {"val": val_digest, "identity": identity, **columns, "ious": ious})


def read_box_iou(folder: Path, *, val_digest: str = "", identity: str = "") -> BoxIou | None:
    """What :func:`write_box_iou` kept; None where it is missing or broken, or not of these data and masks, if given."""
    try:
        content = read_json_file(folder / BOX_IOU_FILE)
        if val_digest not in ("", content["val"]) or identity not in ("", content["identity"]):
            return None
        ids, image_ids, labels = (np.array(content[name], dtype=np.int64) for name in _COLUMNS)
        ious = {name: np.array(values, dtype=np.float64) for name, values in content["ious"].items()}
        if any(values.shape != ids.shape for values in (image_ids, labels, *ious.values())):
            return None
        return BoxIou(ids, image_ids, labels, ious)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it is measured again


def newest_box_iou(folder: Path, *, val_digest: str) -> BoxIou | None:
    """That of the newest evaluation of a run on this data."""
    paths = sorted(folder.glob(f"evaluation/*/{BOX_IOU_FILE}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    found = (read_box_iou(path.parent, val_digest=val_digest) for path in paths)
    return next((box_iou for box_iou in found if box_iou is not None), None)
