"""`maskx fit-transfer`: stage 2."""

from __future__ import annotations

from collections.abc import Mapping

import click

from maskx_pipeline.commands.options import command_line, print_path, stage_options
from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig
from maskx_pipeline.project import Project


@click.command(name="fit-transfer", short_help="Stage 2: T and the mask head, from the RoI cache.")
@stage_options(TransferConfig, as_json=True, checks_data=True)
def command(
    project: Project,
    config: TransferConfig,
    data: DataConfig,
    accepted: Mapping[str, str],
    as_json: bool,
    overwrite: bool,
) -> None:
    """Stage 2: train the weight transfer function T and the mask head from the RoI cache.

    Only the masks of --split are used. RoI features and class weights are those of the cache; the detector is not run.
    """
    from maskx_pipeline.stages.first_checks import require_cache, require_data

    require_data(data)
    require_cache(config.cache)
    from maskx_pipeline.stages.fit_transfer import fit_transfer

    masks, classes = project.load(MasksConfig), project.detector_classes()
    folder = fit_transfer(
        config,
        data,
        masks=masks,
        classes=classes,
        accepted=accepted,
        overwrite=overwrite,
        command=command_line(),
    )
    print_path("run", folder, as_json=as_json)
