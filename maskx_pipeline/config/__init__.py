"""One frozen dataclass per stage: the only home of defaults.

Each dataclass makes a table of maskx.toml, the options of a command, a page of the reference, and the digest by which
a stage knows whether its result is still the one asked for.
"""

from __future__ import annotations

from maskx_pipeline.config.data import DataConfig, GrabCutConfig, ShapesConfig, VisualGenomeConfig
from maskx_pipeline.config.detection import DetectConfig, ExportConfig
from maskx_pipeline.config.evaluation import EvaluateConfig, EvaluateGrabCutConfig, PredictConfig
from maskx_pipeline.config.joint import E2EConfig, mask_options
from maskx_pipeline.config.shapes_project import SHAPES_PROJECT
from maskx_pipeline.config.transfer import FORMS, TransferConfig, TransferForm
from maskx_pipeline.settings import StageConfig

STAGE_CONFIGS: tuple[type[StageConfig], ...] = (
    DataConfig, ShapesConfig, VisualGenomeConfig, GrabCutConfig, DetectConfig, ExportConfig, TransferConfig,
    E2EConfig, EvaluateConfig, EvaluateGrabCutConfig, PredictConfig,
)  # fmt: skip

__all__ = [
    "FORMS",
    "SHAPES_PROJECT",
    "STAGE_CONFIGS",
    "DataConfig",
    "DetectConfig",
    "E2EConfig",
    "EvaluateConfig",
    "EvaluateGrabCutConfig",
    "ExportConfig",
    "GrabCutConfig",
    "PredictConfig",
    "ShapesConfig",
    "TransferConfig",
    "TransferForm",
    "VisualGenomeConfig",
    "mask_options",
]
