"""`maskx evaluate`: AP on a category set."""

from __future__ import annotations

from typing import Any

import click

from maskx_pipeline.commands.options import (
    command_line,
    config_options,
    json_option,
    overwrite_option,
    print_json,
    print_result,
    project_option,
)
from maskx_pipeline.config import DataConfig, EvaluateConfig, MasksConfig
from maskx_pipeline.project import Project


@click.command(name="evaluate", short_help="AP on a category set, and on seen and unseen ones.")
@project_option
@config_options(EvaluateConfig)
@click.option("--per-category", is_flag=True, help="Print the AP of each category too.")
@json_option
@overwrite_option
def command(project: Project, per_category: bool, as_json: bool, overwrite: bool, **options: Any) -> None:
    """Report box and mask AP on a category set, and beside it on the seen and the unseen categories."""
    from maskx_pipeline.stages.evaluate import evaluate

    config = project.load(EvaluateConfig, options)
    data, masks = project.load(DataConfig), project.load(MasksConfig)
    classes = project.detector_classes()
    evaluation = evaluate(config, data, masks=masks, classes=classes, overwrite=overwrite, command=command_line())
    print_json(evaluation.to_json()) if as_json else print_result(evaluation.to_text(per_category=per_category))
