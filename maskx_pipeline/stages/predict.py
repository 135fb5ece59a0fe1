"""`maskx predict`: masks for new images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskx_pipeline.config import PredictConfig
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.model_run import open_model
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.stages.inputs import refuse_to_replace


def predict(
    config: PredictConfig, images: Sequence[Path], *, classes: DetectorClasses = NO_CLASSES, overwrite: bool = False
) -> Path:
    """Segment images or folders of images: overlays and a COCO results file, in the folder ``config.out``."""
    refuse_to_replace(config.out / "results.json", overwrite)
    opened = open_model(
        config.model, runs=config.runs, checkpoint=config.checkpoint, detector=config.detector, classes=classes
    )
    with locked(config.out, folder=True):
        predict_folder(
            opened.whole_model(config.device),
            images,
            out=config.out,
            categories=opened.categories,
            seen=opened.seen,
            score_threshold=config.score_threshold,
            limit=config.limit,
            speck_share=config.speck_share,
            overwrite=overwrite,
        )
    return config.out
