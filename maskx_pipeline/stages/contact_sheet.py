"""`maskx contact-sheet`: predictions as a sheet of pictures (Figures 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from maskx_pipeline.config import ContactSheetConfig, DataConfig
from maskx_pipeline.data.records import Category
from maskx_pipeline.engine.progress import Progress
from maskx_pipeline.evaluation.given_images import given_images, images_of
from maskx_pipeline.evaluation.predict_images import write_legend
from maskx_pipeline.model_run import open_model
from maskx_pipeline.project import NO_CLASSES, DetectorClasses
from maskx_pipeline.provenance.files import check_ending
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.stages.inputs import read_val_images, refuse_to_replace
from maskx_pipeline.study import sheet_layout
from maskx_pipeline.study.contact_sheet import predicted_row, read_sheet_images, truth_row


def contact_sheet(
    config: ContactSheetConfig,
    models: Sequence[Path],
    images: Sequence[Path],
    data: DataConfig,
    *,
    classes: DetectorClasses = NO_CLASSES,
    overwrite: bool = False,
) -> Path:
    """Segment the same images with several models, and lay the overlays out in ``config.out``.

    A column per image, a row per model.

    Args:
        models: Run folders, from the top row to the bottom.
        images: Image files, and folders with their subfolders; if there are none, those of val.
        data: Its val annotations are the ground truth, if asked for; red and green in it are those of the first model.
    """
    check_ending(config.out, sheet_layout.FORMATS)
    with locked(config.out):
        refuse_to_replace(config.out, overwrite)
        sheet, categories = _draw(config, models, images, data, classes)
        sheet_layout.save_sheet(sheet, config.out)
        write_legend(config.out.with_suffix(".legend.txt"), categories)
    return config.out


def _draw(
    config: ContactSheetConfig,
    models: Sequence[Path],
    images: Sequence[Path],
    data: DataConfig,
    classes: DetectorClasses,
) -> tuple[Image.Image, tuple[Category, ...]]:
    opened = [
        open_model(folder, checkpoint=config.checkpoint, detector=config.detector, classes=classes) for folder in models
    ]
    given = given_images(images) if images else images_of(read_val_images(data))
    pictured = read_sheet_images(given, limit=config.limit)
    truth = []
    if config.truth:
        val = read_val_images(data, categories=opened[0].categories)
        truth.append(truth_row("ground truth", pictured, val, seen=opened[0].seen))
    rows = []
    with Progress(len(models) * len(pictured), "contact sheet", "images") as bar:
        for model in opened:
            rows.append(
                predicted_row(
                    model.folder.resolve().name,
                    model.whole_model(config.device),
                    pictured,
                    categories=model.categories,
                    seen=model.seen,
                    score_threshold=config.score_threshold,
                    bar=bar,
                )
            )
    captions = [image.name for image in pictured]
    return sheet_layout.lay_out([*rows, *truth], captions, columns=config.columns), opened[0].categories
