"""One frozen dataclass per stage: the only home of defaults.

Each dataclass makes a table of maskx.toml, the options of a command, a page of the reference, and the digest by which
a stage knows whether its result is still the one asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from maskx_pipeline.config.data import DataConfig, DoctorConfig, MasksConfig, ShapesConfig
from maskx_pipeline.config.detection import IMPORTED_ONLY, DetectConfig, ExportConfig, ImportConfig
from maskx_pipeline.config.e2e import E2EConfig, mask_options
from maskx_pipeline.config.evaluation import (
    AnnotateConfig,
    ContactSheetConfig,
    EvaluateConfig,
    PredictConfig,
    ReportConfig,
)
from maskx_pipeline.config.export_model import ExportModelConfig
from maskx_pipeline.config.formats import FORMATS, SOURCES
from maskx_pipeline.config.run import RunConfig
from maskx_pipeline.config.shapes_project import SHAPES_PROJECT
from maskx_pipeline.config.teachers import (
    DEFAULT_TEACHERS,
    TEACHER_HELP,
    TEACHERS,
    ConvertTeacherConfig,
    EvaluateTeacherConfig,
    GrabCutConfig,
    SamConfig,
    TeacherSettings,
)
from maskx_pipeline.config.tools import TOOLS, ConvertToConfig
from maskx_pipeline.config.transfer import FORMS, TransferConfig, TransferForm
from maskx_pipeline.config.tune import TuneConfig
from maskx_pipeline.settings import StageConfig


def _tables(cls: type[StageConfig]) -> Iterator[type[StageConfig]]:
    for made in cls.__subclasses__():
        if "table" in vars(made):
            yield made
        yield from _tables(made)


STAGE_CONFIGS: tuple[type[StageConfig], ...] = tuple(_tables(StageConfig))
"""Every table of maskx.toml; a class in one of the modules above needs no line here."""

__all__ = [
    "DEFAULT_TEACHERS",
    "FORMATS",
    "FORMS",
    "IMPORTED_ONLY",
    "SHAPES_PROJECT",
    "SOURCES",
    "STAGE_CONFIGS",
    "TEACHERS",
    "TEACHER_HELP",
    "TOOLS",
    "AnnotateConfig",
    "ContactSheetConfig",
    "ConvertTeacherConfig",
    "ConvertToConfig",
    "DataConfig",
    "DetectConfig",
    "DoctorConfig",
    "E2EConfig",
    "EvaluateConfig",
    "EvaluateTeacherConfig",
    "ExportConfig",
    "ExportModelConfig",
    "GrabCutConfig",
    "ImportConfig",
    "MasksConfig",
    "PredictConfig",
    "ReportConfig",
    "RunConfig",
    "SamConfig",
    "ShapesConfig",
    "TeacherSettings",
    "TransferConfig",
    "TransferForm",
    "TuneConfig",
    "mask_options",
]
