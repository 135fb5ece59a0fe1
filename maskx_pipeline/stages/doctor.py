"""`maskx doctor`: look at the data set before training."""

from __future__ import annotations

from collections.abc import Mapping

from maskx_pipeline.config import DataConfig, MasksConfig
from maskx_pipeline.doctor.check import DatasetReport, check_dataset
from maskx_pipeline.stages.inputs import NO_MASKS, NOTHING, other_data, read_data, read_mask_data


def check_data(
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    accepted: Mapping[str, str] = NOTHING,
    longest: int | None = None,
) -> DatasetReport:
    """Look at the data set before training: per category boxes, masks and verdict, and what is wrong, by kind.

    Where ``masks`` names another data set, the masks are counted there.

    Args:
        accepted: By kind of finding, why it is right as it is.
        longest: Pixels of the longer side of an image as the detector gets it.
    """
    train, val = read_data(data, check=False)
    other = None
    if other_data(masks) is not None:
        other = read_mask_data(data, masks, categories=train.categories, check=False)
    return check_dataset(train, val, masks=other, accepted=accepted, longest=longest)
