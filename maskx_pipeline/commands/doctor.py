"""`maskx doctor`: look at the data, and at the machine, before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maskx_pipeline.commands.options import (
    accepted_of,
    data_options,
    folder_option,
    json_option,
    limit_pixels,
    print_json,
    print_report,
    print_result,
)
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
@click.option("--all", "every", is_flag=True, help="Name every example of each finding, not only three.")
@data_options
@json_option
def command(
    folder: Path, env: bool, estimate: bool, every: bool, accept: tuple[str, ...], as_json: bool, **read: Any
) -> None:
    """Check the data set: per category its boxes, real masks and verdict, and what is wrong, summed up by kind.

    Exits with 3 where training would go wrong; then detect train, export-embeddings, fit-transfer and e2e refuse the
    data too. What is right as it is can be accepted. =box counts masks that are exactly their box; a category whose
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
    data, masks, detect = project.load(DataConfig, read), project.load(MasksConfig), project.load(DetectConfig)
    limit_pixels(data)
    report = check_data(data, masks=masks, accepted=accepted_of(project, accept), longest=detect.max_size)
    expected = None
    if not as_json:
        print_result(report.to_text(every=every))
    if estimate and not report.fatal:
        from maskx_pipeline.stages.estimate import estimate_stages

        expected = estimate_stages(
            data,
            masks=masks,
            detect=detect,
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
            "training would go wrong: " + "; ".join(report.fatal),
            "fix the data, then run this again; what is right as it is can be accepted: --accept KIND",
        )
