"""`maskx evaluate`: AP on a category set."""

from __future__ import annotations

from typing import Any

import click

from maskx_pipeline.commands.options import (
    command_line,
    config_options,
    per_category_option,
    print_report,
    sam_weights_option,
    stage_options,
    teacher_settings,
)
from maskx_pipeline.config import TEACHER_HELP, DataConfig, EvaluateConfig, EvaluateTeacherConfig, MasksConfig
from maskx_pipeline.project import Project


@click.command(name="evaluate", short_help="AP on a category set, and on seen and unseen ones.")
@stage_options(
    EvaluateConfig,
    click.option("--teacher", metavar="NAME", help=f"Measure a teacher's masks, not a model's: {TEACHER_HELP}."),
    config_options(EvaluateTeacherConfig),
    sam_weights_option,
    per_category_option,
    as_json=True,
)
def command(
    project: Project,
    config: EvaluateConfig,
    teacher: str | None,
    weights: str | None,
    per_category: bool,
    as_json: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Report box and mask AP on a category set, and beside it on the seen and the unseen categories.

    With --teacher it is that of boxes with a teacher's masks, for which nothing is trained. The options from there to
    --sam-weights are for that alone. `maskx compare` takes its folder --out beside those of models.
    """
    data, masks = project.load(DataConfig), project.load(MasksConfig)
    if teacher is not None:
        from maskx_pipeline.stages.evaluate_teacher import evaluate_teacher

        evaluation = evaluate_teacher(
            teacher,
            project.load(EvaluateTeacherConfig, {f.name: options[f.name] for f in EvaluateTeacherConfig.fields()}),
            data,
            split=config.split,
            max_detections=config.max_detections,
            runs=config.runs,
            masks=masks,
            teachers=teacher_settings(project, weights),
            device=config.device,
            overwrite=overwrite,
            command=command_line(),
        )
    else:
        from maskx_pipeline.stages.first_checks import require_model

        require_model(config)
        from maskx_pipeline.stages.evaluate import evaluate

        classes = project.detector_classes()
        evaluation = evaluate(config, data, masks=masks, classes=classes, overwrite=overwrite, command=command_line())
    print_report(evaluation, as_json=as_json, per_category=per_category)
