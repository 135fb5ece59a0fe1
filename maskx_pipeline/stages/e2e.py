"""`maskx e2e`: joint training."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from maskx_pipeline.config import DataConfig, DetectConfig, E2EConfig, TransferConfig
from maskx_pipeline.data.category_sets import masked_labels, resolve_category_set
from maskx_pipeline.e2e.mask_targets import SeenMasks
from maskx_pipeline.e2e.start import read_start
from maskx_pipeline.e2e.train import train_e2e_model
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.device import amp_dtype, resolve_device
from maskx_pipeline.engine.runlog import LONGER_ITERATIONS, open_run
from maskx_pipeline.evaluation.e2e_metrics import e2e_metrics
from maskx_pipeline.stages.inputs import NOTHING, embedding_files, read_data, record_masks
from maskx_pipeline.stages.names import e2e_run_name
from maskx_pipeline.transfer.heads import mask_head_class


def train_e2e(
    config: E2EConfig,
    data: DataConfig,
    *,
    detect: DetectConfig,
    transfer: TransferConfig,
    asked: Collection[str] = (),
    accepted: Mapping[str, str] = NOTHING,
    overwrite: bool = False,
    command: str = "",
) -> Path:
    """Train detector, T and mask head jointly: the boxes of all categories, the masks of the seen ones.

    Returns the run folder, ``out/name``.

    Args:
        detect: The settings of a new detector, at a start from the backbone.
        accepted: By kind of finding, why it is right as it is; other errors of `maskx doctor` are refused.
        asked: Fields of ``transfer`` that must hold even if ``config.init`` brings a mask model of its own.
    """
    distributed.start()
    train, val = read_data(data, accepted=accepted, longest=detect.max_size)
    seen = resolve_category_set(config.split, train.categories, masked=masked_labels(train), seen=None)
    start = read_start(config, detect=detect, transfer=transfer, asked=asked, categories=train.categories, seen=seen)
    size = mask_head_class(start.transfer.mask_head).mask_size(config.roi_size)
    masks = SeenMasks(train, seen=seen, size=size)
    if overwrite:
        amp_dtype(config.amp, resolve_device(config.device))  # an error comes before anything is removed
    folder = config.out / e2e_run_name(config, start.transfer)
    with open_run(
        folder,
        stage=config.table,
        identity={**start.identity(), **config.identity()},
        config=config.to_mapping(),
        inputs={
            "train annotations": train.digest,
            "val annotations": val.digest,
            "init": start.content,
            "seen categories": ",".join(map(str, sorted(seen))),
            **({} if start.fitted else embedding_files(start.transfer, train.categories)),
        },
        command=command,
        overwrite=overwrite,
        tensorboard=config.tensorboard,
        longer=LONGER_ITERATIONS,
    ) as run:
        record_masks(run, train, seen)
        if run.is_finished():
            return folder
        device = resolve_device(config.device)
        dtype = amp_dtype(config.amp, device)
        train_e2e_model(
            config,
            train,
            start=start,
            seen=seen,
            masks=masks,
            run=run,
            evaluate=lambda model: e2e_metrics(model, val, seen=seen, device=device, amp_dtype=dtype),
        )
    return folder
