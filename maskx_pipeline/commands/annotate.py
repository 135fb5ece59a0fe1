"""`maskx annotate`: masks for boxes that have none."""

from __future__ import annotations

from pathlib import Path

import click

from maskx_pipeline.commands.options import (
    accept_option,
    accepted_of,
    print_report,
    sam_weights_option,
    stage_options,
    teacher_settings,
)
from maskx_pipeline.config import TOOLS, AnnotateConfig, ConvertToConfig, DataConfig
from maskx_pipeline.errors import ConfigError, DataError
from maskx_pipeline.project import Project


@click.command(name="annotate", short_help="Fill the missing masks of a COCO-format data set.")
@click.argument("dataset", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@stage_options(
    AnnotateConfig,
    click.option("--evaluate", is_flag=True, help="Only hide the masks that exist, predict them, and report mask IoU."),
    click.option(
        "--rejected",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Only empty the masks of DATASET that this CSV rejects, which the page of --review lets you download.",
    ),
    click.option(
        "--for",
        "tool",
        type=click.Choice([tool.name for tool in TOOLS if tool.has_tasks]),
        help="Also write a folder that this tool takes, OUT-for-TOOL; as `maskx convert to`.",
    ),
    sam_weights_option,
    accept_option,
    as_json=True,
)
def command(
    dataset: Path,
    project: Project,
    config: AnnotateConfig,
    evaluate: bool,
    rejected: Path | None,
    tool: str | None,
    weights: str | None,
    accept: tuple[str, ...],
    as_json: bool,
    overwrite: bool,
) -> None:
    """Fill the missing masks of DATASET, a COCO-format annotation file, from its boxes and their categories.

    Masks that exist, ids, order, and every other byte stay as they are. Interrupted, it continues where it stopped.
    """
    data = project.load(DataConfig)
    if rejected is not None:
        from maskx_pipeline.stages.annotate_rejected import reject_masks

        if evaluate:
            raise ConfigError("--evaluate and --rejected are two commands.", "give one of them")
        print_report(reject_masks(config, data, dataset, rejected, overwrite=overwrite), as_json=as_json)
        _hand_over(tool, dataset, config, project, overwrite=overwrite)
        return
    from maskx_pipeline.stages.first_checks import require_model

    require_model(config)
    from maskx_pipeline.stages.annotate import annotate_boxes, evaluate_annotation

    classes, teachers = project.detector_classes(), teacher_settings(project, weights)
    if evaluate:
        if tool is not None:
            raise ConfigError("--evaluate writes nothing, so there is nothing --for a tool.", "give one of them")
        print_report(evaluate_annotation(config, data, dataset, classes=classes, teachers=teachers), as_json=as_json)
        return
    annotated = annotate_boxes(
        config,
        data,
        dataset,
        classes=classes,
        teachers=teachers,
        accepted=accepted_of(project, accept),
        overwrite=overwrite,
    )
    print_report(annotated, as_json=as_json)
    _hand_over(tool, dataset, config, project, overwrite=overwrite)
    if config.review is not None and not as_json:
        click.echo(f"To go through them, open {config.review / 'index.html'} in a browser.")
    if annotated.unreadable:
        raise DataError(
            f"{len(annotated.unreadable)} images cannot be used. Their annotations stay without masks. The "
            f"first: {annotated.unreadable[0].reason}",
            "fix them and give the same command again: it does only these",
        )


def _hand_over(tool: str | None, dataset: Path, config: AnnotateConfig, project: Project, *, overwrite: bool) -> None:
    """Write what a tool takes of the file that was written, and say where."""
    if tool is None:
        return
    from maskx_pipeline.stages.convert import convert_to
    from maskx_pipeline.stages.inputs import image_folder_of

    images = config.images or image_folder_of(dataset, project.load(DataConfig))
    chosen = next(one for one in TOOLS if one.name == tool)
    settings = project.load(ConvertToConfig).replace(images=images, out=None)
    folder = convert_to(chosen, config.out, settings, None, overwrite=overwrite, renew=True)
    click.echo(f"For {tool}: {folder}", err=True)
