"""`maskx detect train`: stage 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maskx_pipeline.config import DataConfig, DetectConfig
from maskx_pipeline.detection.first_checks import check_detector, content_of
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import LONGER_ITERATIONS, open_run
from maskx_pipeline.stages.inputs import NOTHING, read_data


def train_detector(
    config: DetectConfig,
    data: DataConfig,
    *,
    overwrite: bool = False,
    command: str = "",
    accepted: Mapping[str, str] = NOTHING,
) -> Path:
    """Stage 1: train Faster R-CNN on the boxes of all categories.

    Args:
        accepted: By kind of finding, why it is right as it is; other errors of `maskx doctor` are refused.

    Returns:
        The run folder, with best.safetensors and last.safetensors.
    """
    distributed.start()
    train, val = read_data(data, accepted=accepted, longest=config.max_size)
    check_detector(config)
    if overwrite:
        amp_dtype(config.amp, resolve_device(config.device))  # an error comes before anything is removed
    with open_run(
        config.out,
        stage="detect",
        identity=config.identity(),
        config=config.to_mapping(),
        inputs={
            "train annotations": train.digest,
            "val annotations": val.digest,
            "backbone weights": content_of(config.backbone_weights),
        },
        command=command,
        overwrite=overwrite,
        tensorboard=config.tensorboard,
        longer=LONGER_ITERATIONS,
    ) as run:
        if run.is_finished():
            return config.out
        from maskx_pipeline.detection import train as detection
        from maskx_pipeline.evaluation.detector_ap import box_ap

        device = resolve_device(config.device)
        dtype = amp_dtype(config.amp, device)
        detection.train_detector(
            config, train, run=run, evaluate=lambda detector: box_ap(detector, val, device=device, amp_dtype=dtype)
        )
    return config.out
