"""`maskx e2e`: joint training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from maskx_pipeline.commands.options import command_line, config_options, print_path, stage_options
from maskx_pipeline.config import DataConfig, DetectConfig, E2EConfig, TransferConfig, mask_options
from maskx_pipeline.project import Project

_NOT_OFFERED = tuple(item.name for item in TransferConfig.fields() if item.name not in mask_options())


@click.command(name="e2e", short_help="Train detector, T and mask head jointly.")
@stage_options(E2EConfig, config_options(TransferConfig, leave_out=_NOT_OFFERED), as_json=True, checks_data=True)
def command(
    project: Project,
    config: E2EConfig,
    data: DataConfig,
    accepted: Mapping[str, str],
    as_json: bool,
    overwrite: bool,
    **mask_model: Any,
) -> None:
    """Train detector, T and mask head jointly: boxes of all categories, masks of --split.

    A new detector has the settings of [detect]; a new mask model those of [fit-transfer] and of the options here.
    """
    from maskx_pipeline.stages.first_checks import require_data, require_start

    require_data(data)
    require_start(config.init)
    from maskx_pipeline.stages.e2e import train_e2e

    folder = train_e2e(
        config,
        data,
        detect=project.load(DetectConfig),
        transfer=project.load(TransferConfig, mask_model),
        asked=[name for name, value in mask_model.items() if value is not None],
        accepted=accepted,
        overwrite=overwrite,
        command=command_line(),
    )
    print_path("run", folder, as_json=as_json)
