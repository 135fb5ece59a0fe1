"""`maskx predict`: masks for new images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskx_pipeline.config import DataConfig, PredictConfig
from maskx_pipeline.engine import distributed
from maskx_pipeline.engine.sharing import by_main
from maskx_pipeline.evaluation.given_images import given_images, images_of
from maskx_pipeline.evaluation.predict_images import predict_folder
from maskx_pipeline.export_model.in_onnxruntime import in_runtime
from maskx_pipeline.model_run import open_model
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.stages.inputs import read_val_images, refuse_to_replace


def predict(
    config: PredictConfig,
    images: Sequence[Path],
    data: DataConfig,
    *,
    classes: DetectorClasses = NO_CLASSES,
    overwrite: bool = False,
) -> Path:
    """Segment images or folders of images: overlays and a COCO results file, in the folder ``config.out``.

    Args:
        images: Files, and folders with their subfolders; if there are none, those of val, under its names and ids.
            Several processes share them; the main one writes.
    """
    distributed.on_main(lambda: refuse_to_replace(config.out / "results.json", overwrite))
    given = given_images(images, leave_out=config.out) if images else images_of(read_val_images(data))
    opened = open_model(
        config.model, runs=config.runs, checkpoint=config.checkpoint, detector=config.detector, classes=classes
    )
    model = in_runtime(
        opened.whole_model(config.device),
        config.runtime,
        num_classes=len(opened.categories),
        images=min(len(given), config.limit or len(given)),
    )
    with by_main(locked(config.out, folder=True)):
        predict_folder(
            model,
            given,
            out=config.out,
            categories=opened.categories,
            seen=opened.seen,
            score_threshold=config.score_threshold,
            limit=config.limit,
            speck_share=config.speck_share,
            overwrite=overwrite,
            batch=config.batch,
            tile=config.tile,
        )
    return config.out
