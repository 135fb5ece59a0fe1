"""`maskx export-model`: the model for other programs."""

from __future__ import annotations

import click

from maskx_pipeline.commands.options import print_json, print_result, stage_options
from maskx_pipeline.config import ExportModelConfig
from maskx_pipeline.project import Project


@click.command(name="export-model", short_help="A torchvision Mask R-CNN, or ONNX.")
@stage_options(ExportModelConfig, as_json=True)
def command(project: Project, config: ExportModelConfig, as_json: bool, overwrite: bool) -> None:
    """Write a torchvision Mask R-CNN or ONNX, which work without maskx, and print how to load it."""
    from maskx_pipeline.stages.first_checks import require_model

    require_model(config)
    from maskx_pipeline.stages.export_model import export_model

    exported = export_model(config, overwrite=overwrite)
    if as_json:
        print_json({"path": str(exported.path), "note": str(exported.note), "code": exported.code})
    else:
        print_result(f"{exported.path}\n\n{exported.code}", nl=False)
