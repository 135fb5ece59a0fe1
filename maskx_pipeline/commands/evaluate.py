"""`maskx evaluate`: AP on a category set."""

from __future__ import annotations

import click

from maskx_pipeline.commands.options import command_line, per_category_option, print_report, stage_options
from maskx_pipeline.config import DataConfig, EvaluateConfig, MasksConfig
from maskx_pipeline.project import Project


@click.command(name="evaluate", short_help="AP on a category set, and on seen and unseen ones.")
@stage_options(EvaluateConfig, per_category_option, as_json=True)
def command(project: Project, config: EvaluateConfig, per_category: bool, as_json: bool, overwrite: bool) -> None:
    """Report box and mask AP on a category set, and beside it on the seen and the unseen categories."""
    from maskx_pipeline.stages.evaluate import evaluate

    data, masks = project.load(DataConfig), project.load(MasksConfig)
    classes = project.detector_classes()
    evaluation = evaluate(config, data, masks=masks, classes=classes, overwrite=overwrite, command=command_line())
    print_report(evaluation, as_json=as_json, per_category=per_category)
