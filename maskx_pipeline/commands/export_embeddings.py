"""`maskx export-embeddings`: from the frozen detector to the RoI cache."""

from __future__ import annotations

from collections.abc import Mapping

import click

from maskx_pipeline.commands.options import print_path, print_report, stage_options
from maskx_pipeline.config import DataConfig, ExportConfig, MasksConfig
from maskx_pipeline.project import Project


@click.command(name="export-embeddings", short_help="Class weights and RoI features to the RoI cache.")
@stage_options(
    ExportConfig,
    click.option("--dry-run", is_flag=True, help="Print RoIs, bytes on disk and expected time; write nothing."),
    as_json=True,
    checks_data=True,
)
def command(
    project: Project,
    config: ExportConfig,
    data: DataConfig,
    accepted: Mapping[str, str],
    dry_run: bool,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Write class weights and RoI features of the frozen detector to the RoI cache (HDF5)."""
    from maskx_pipeline.stages.first_checks import require_data, require_detector

    require_data(data)
    require_detector(config.detector)
    from maskx_pipeline.stages.export_embeddings import export_embeddings, plan_export

    masks, classes = project.load(MasksConfig), project.detector_classes()
    if dry_run:
        plan = plan_export(config, data, masks=masks, classes=classes, accepted=accepted)
        print_report(plan, as_json=as_json)
        return
    path = export_embeddings(config, data, masks=masks, classes=classes, accepted=accepted, overwrite=overwrite)
    print_path("cache", path, as_json=as_json)
