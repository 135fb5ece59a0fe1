"""`maskx doctor`: look at the data set before training."""

from __future__ import annotations

from maskx_pipeline.config import DataConfig, MasksConfig
from maskx_pipeline.doctor.check import DatasetReport, check_dataset
from maskx_pipeline.stages.inputs import NO_MASKS, other_data, read_data, read_mask_data


def check_data(data: DataConfig, *, masks: MasksConfig = NO_MASKS) -> DatasetReport:
    """Look at the data set before training: per category boxes, masks and verdict, and every problem by its id.

    Where ``masks`` names another data set, the masks are counted there.
    """
    train, val = read_data(data, log=False)
    if other_data(masks) is None:
        return check_dataset(train, val)
    return check_dataset(train, val, masks=read_mask_data(data, masks, categories=train.categories, log=False))
