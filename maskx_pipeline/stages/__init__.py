"""One function per stage: typed config in, path or result out. The Python API, and all that the commands call."""

from maskx_pipeline.engine.environment import describe_environment
from maskx_pipeline.stages.annotate import annotate_boxes, evaluate_annotation
from maskx_pipeline.stages.estimate import estimate_stages
from maskx_pipeline.stages.exporting import ExportedModel, export_model
from maskx_pipeline.stages.figures import contact_sheet, plot_splits
from maskx_pipeline.stages.foreign import export_foreign
from maskx_pipeline.stages.grabcut import convert_grabcut, evaluate_grabcut
from maskx_pipeline.stages.importing import import_detector
from maskx_pipeline.stages.models import compare, evaluate, newest_run, predict
from maskx_pipeline.stages.names import e2e_run_name, run_name
from maskx_pipeline.stages.project import check_data, convert_visual_genome, init_project, init_shapes
from maskx_pipeline.stages.reporting import report
from maskx_pipeline.stages.training import export_embeddings, fit_transfer, plan_export, train_detector, train_e2e

__all__ = [
    "ExportedModel",
    "annotate_boxes",
    "check_data",
    "compare",
    "contact_sheet",
    "convert_grabcut",
    "convert_visual_genome",
    "describe_environment",
    "e2e_run_name",
    "estimate_stages",
    "evaluate",
    "evaluate_annotation",
    "evaluate_grabcut",
    "export_embeddings",
    "export_foreign",
    "export_model",
    "fit_transfer",
    "import_detector",
    "init_project",
    "init_shapes",
    "newest_run",
    "plan_export",
    "plot_splits",
    "predict",
    "report",
    "run_name",
    "train_detector",
    "train_e2e",
]
