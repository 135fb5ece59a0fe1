"""`maskx doctor`: look at the data, and at the machine, before training."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import folder_option, json_option, print_json, print_report, print_result
from maskx_pipeline.config import DataConfig, DetectConfig, E2EConfig, ExportConfig, MasksConfig, TransferConfig
from maskx_pipeline.errors import CheckFailedError
from maskx_pipeline.project import read_project


@click.command(name="doctor", short_help="Check the data: boxes and masks of each category.")
@folder_option()
@click.option("--env", is_flag=True, help="Show versions, CPU, GPUs, precision, memory and disk; looks at no data.")
@click.option(
    "--estimate",
    is_flag=True,
    help="Also estimate time and disk of each stage here, from a few images and steps; takes minutes on a CPU.",
)
@json_option
def command(folder: Path, env: bool, estimate: bool, as_json: bool) -> None:
    """Check the data set: per category its boxes, real masks and verdict, and every annotation with a problem.

    Exits with 3 where training would go wrong. Masks that are exactly their box are counted apart, and a category whose
    masks are nearly all like that is suspect. Tiny boxes are smaller than 16 x 16 pixels. --env looks at the machine
    instead, and needs no project.
    """
    if env and estimate:
        raise click.UsageError("--env looks at no data, and --estimate needs some: give one of the two.")
    if env:
        from maskx_pipeline.engine.environment import describe_environment

        print_report(describe_environment(folder), as_json=as_json)
        return
    from maskx_pipeline.stages.doctor import check_data

    project = read_project(folder)
    data, masks = project.load(DataConfig), project.load(MasksConfig)
    report = check_data(data, masks=masks)
    expected = None
    if not as_json:
        print_result(report.to_text())
    if estimate and not report.fatal:
        from maskx_pipeline.stages.estimate import estimate_stages

        expected = estimate_stages(
            data,
            masks=masks,
            detect=project.load(DetectConfig),
            export=project.load(ExportConfig),
            transfer=project.load(TransferConfig),
            e2e=project.load(E2EConfig),
            classes=project.detector_classes(),
        )
        if not as_json:
            print_result(f"\n{expected.to_text()}")
    if as_json:
        print_json(report.to_json() | ({} if expected is None else {"estimate": expected.to_json()}))
    if report.fatal:
        raise CheckFailedError(
            "training would go wrong: " + "; ".join(report.fatal), "fix the data, then run this again"
        )
