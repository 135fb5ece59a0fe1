"""`maskx convert grabcut`: training masks by GrabCut (paper, section 4.3 and Table 2)."""

from __future__ import annotations

from pathlib import Path

from maskx_pipeline.config import DataConfig, GrabCutConfig
from maskx_pipeline.data.coco import log_problems, read_coco
from maskx_pipeline.teachers.grabcut_annotations import write_grabcut_annotations


def convert_grabcut(config: GrabCutConfig, data: DataConfig, *, overwrite: bool = False) -> Path:
    """Write the training annotations with GrabCut's foreground of each ground-truth box as the object's mask.

    Returns:
        The annotation file ``config.out``, to be used as train-annotations of [data].
    """
    train = read_coco(data.train_annotations, data.train_images)
    log_problems(train)
    return write_grabcut_annotations(config, train, overwrite=overwrite)
