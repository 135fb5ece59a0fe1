"""`maskx tune`: the best design for this data."""

from __future__ import annotations

from collections.abc import Mapping

import click

from maskx_pipeline.commands.options import command_line, print_report, stage_options
from maskx_pipeline.config import DataConfig, MasksConfig, TransferConfig, TuneConfig
from maskx_pipeline.project import Project


@click.command(name="tune", short_help="Which design suits this data, and what to expect of it.")
@stage_options(TuneConfig, as_json=True, checks_data=True)
def command(
    project: Project,
    config: TuneConfig,
    data: DataConfig,
    accepted: Mapping[str, str],
    as_json: bool,
    overwrite: bool,
) -> None:
    """Compare designs of fit-transfer by hiding the masks of some seen categories in turn, and fit the best on all.

    Each design is fitted on the other categories from the RoI cache, and measured on those whose masks were hidden; the
    boxes are not hidden. All designs are tried on the first fold, the better half on every fold, the best on halves of
    these. Sizes and schedule are those of [fit-transfer]. The run of the best records what to expect on unseen ones.
    """
    from maskx_pipeline.stages.first_checks import require_cache, require_data

    require_data(data)
    require_cache(project.load(TransferConfig).cache)
    from maskx_pipeline.stages.tune import tune
    from maskx_pipeline.study.tuning_text import TuningReport

    tuning = tune(
        config,
        project.load(TransferConfig),
        data,
        masks=project.load(MasksConfig),
        classes=project.detector_classes(),
        accepted=accepted,
        overwrite=overwrite,
        command=command_line(),
    )
    print_report(TuningReport(tuning), as_json=as_json)
