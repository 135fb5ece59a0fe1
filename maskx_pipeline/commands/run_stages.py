"""`maskx run`: from the boxes to the report."""

from __future__ import annotations

from collections.abc import Mapping

import click

from maskx_pipeline.commands.options import print_report, stage_options
from maskx_pipeline.config import (
    DataConfig,
    DetectConfig,
    E2EConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    MasksConfig,
    ReportConfig,
    RunConfig,
    TransferConfig,
)
from maskx_pipeline.project import Project


@click.command(name="run", short_help="Every stage after init, up to the report.")
@stage_options(
    RunConfig,
    click.option("--dry-run", is_flag=True, help="Print the plan: what is left, time and disk; write nothing."),
    as_json=True,
    checks_data=True,
)
def command(
    project: Project,
    config: RunConfig,
    data: DataConfig,
    accepted: Mapping[str, str],
    dry_run: bool,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Do what is left from the boxes to the report: detector, RoI cache, models, evaluations, page.

    The models are that of [fit-transfer] and its class-agnostic rival. First comes a plan with time and disk, for which
    a few images and steps are timed. Interrupted, it goes on when it is given again. Each stage has the settings of its
    table in maskx.toml, and can be given by itself before or after.
    """
    from maskx_pipeline.stages.first_checks import require_data

    require_data(data)
    from maskx_pipeline.stages.run import RunSettings, plan_run, run_stages

    settings = RunSettings(
        run=config,
        data=data,
        detect=project.load(DetectConfig),
        detect_import=project.load(ImportConfig),
        export=project.load(ExportConfig),
        transfer=project.load(TransferConfig),
        evaluate=project.load(EvaluateConfig),
        report=project.load(ReportConfig),
        e2e=project.load(E2EConfig),
        masks=project.load(MasksConfig),
        classes=project.detector_classes(),
        accepted=accepted,
    )
    if dry_run:
        print_report(plan_run(settings, overwrite=overwrite), as_json=as_json)
        return
    print_report(run_stages(settings, overwrite=overwrite), as_json=as_json)
