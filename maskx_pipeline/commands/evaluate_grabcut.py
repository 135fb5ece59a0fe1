"""`maskx evaluate-grabcut`: AP of the detector's boxes with GrabCut masks."""

from __future__ import annotations

from typing import Any

import click

from maskx_pipeline.commands.options import (
    command_line,
    config_options,
    per_category_option,
    print_report,
    stage_options,
)
from maskx_pipeline.config import DataConfig, EvaluateGrabCutConfig, GrabCutConfig, MasksConfig
from maskx_pipeline.project import Project


@click.command(name="evaluate-grabcut", short_help="Baseline: the detections with masks by GrabCut.")
@stage_options(
    EvaluateGrabCutConfig, config_options(GrabCutConfig, leave_out=("out",)), per_category_option, as_json=True
)
def command(
    project: Project, config: EvaluateGrabCutConfig, per_category: bool, as_json: bool, overwrite: bool, **options: Any
) -> None:
    """Report AP of the baseline without any training mask: cached detections, with GrabCut's foreground of each box.

    Needs OpenCV (the extra `grabcut`). `maskx compare` takes the folder --out beside those of models.
    """
    from maskx_pipeline.stages.evaluate_grabcut import evaluate_grabcut

    grabcut = project.load(GrabCutConfig, options)
    data, masks = project.load(DataConfig), project.load(MasksConfig)
    evaluation = evaluate_grabcut(config, grabcut, data, masks=masks, overwrite=overwrite, command=command_line())
    print_report(evaluation, as_json=as_json, per_category=per_category)
