"""One function per stage: typed config in, path or result out. The Python API, and all that the commands call."""

from maskx_pipeline.stages.grabcut import convert_grabcut, evaluate_grabcut
from maskx_pipeline.stages.models import compare, evaluate, newest_run, predict
from maskx_pipeline.stages.names import e2e_run_name, run_name
from maskx_pipeline.stages.project import check_data, convert_visual_genome, init_project, init_shapes
from maskx_pipeline.stages.training import export_embeddings, fit_transfer, plan_export, train_detector, train_e2e

__all__ = [
    "check_data",
    "compare",
    "convert_grabcut",
    "convert_visual_genome",
    "e2e_run_name",
    "evaluate",
    "evaluate_grabcut",
    "export_embeddings",
    "fit_transfer",
    "init_project",
    "init_shapes",
    "newest_run",
    "plan_export",
    "predict",
    "run_name",
    "train_detector",
    "train_e2e",
]
