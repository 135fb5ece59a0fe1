"""`maskx predict`: masks for new images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from maskx_pipeline.config import (
    PredictConfig,
)
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.model_run import load_model, newest_run, whole_model
from maskx_pipeline.stages.inputs import refuse_to_replace

logger = logging.getLogger("maskx")


def predict(config: PredictConfig, images: Sequence[Path], *, overwrite: bool = False) -> Path:
    """Segment images or folders of images: overlays and a COCO results file.

    Returns:
        The folder ``config.out``.
    """
    folder = config.model or newest_run(config.runs)
    refuse_to_replace(config.out / "results.json", overwrite)
    loaded = load_model(folder, config.checkpoint)
    model = whole_model(loaded, device=config.device)
    predict_folder(
        model,
        images,
        out=config.out,
        categories=loaded.categories,
        seen=loaded.seen,
        score_threshold=config.score_threshold,
        limit=config.limit,
        overwrite=overwrite,
    )
    return config.out
