"""The paper's figures: splits as a plot (Figure 3), predictions as a contact sheet (Figures 4 and 5)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskx_pipeline.config import ContactSheetConfig, DataConfig
from maskx_pipeline.data.coco import read_coco
from maskx_pipeline.engine.files import check_ending
from maskx_pipeline.engine.progress import progress
from maskx_pipeline.errors import listed
from maskx_pipeline.evaluation import sheet_layout, splits_plot
from maskx_pipeline.evaluation.contact_sheet import predicted_row, read_sheet_images, truth_row
from maskx_pipeline.evaluation.splits import SplitStudy, read_splits
from maskx_pipeline.stages.inputs import refuse_to_replace
from maskx_pipeline.stages.models import load_model, whole_model

logger = logging.getLogger("maskx")

_NAMED = 10  # splits that are not drawn


def plot_splits(folders: Iterable[Path], out: Path, *, overwrite: bool = False) -> SplitStudy:
    """Plot the relative change of AP on unseen categories against the masks per seen one: a point per split.

    Where no split has a change, nothing is drawn, and that is logged.

    Args:
        folders: Evaluated runs: on each split a baseline and a model with T.
        out: The file; .svg, .pdf or .png.
        overwrite: Replace a file that exists.
    """
    check_ending(out, splits_plot.FORMATS)
    refuse_to_replace(out, overwrite)
    study = read_splits(folders)
    if not study.by_size():
        out.unlink(missing_ok=True)  # an earlier plot, of other numbers
        logger.warning(
            "%s is not written: on no split has the baseline an AP above zero on unseen categories, so there is no "
            "change relative to it. Train longer, or check with `maskx compare` what was measured.",
            out,
        )
        return study
    if absent := [point.split for point in study.points if point.change is None]:
        logger.warning("Not drawn, since there the baseline has no AP above zero: %s.", listed(absent, _NAMED))
    splits_plot.plot_splits(study, out)
    return study


def contact_sheet(
    config: ContactSheetConfig,
    models: Sequence[Path],
    images: Sequence[Path],
    data: DataConfig,
    *,
    overwrite: bool = False,
) -> Path:
    """Segment the same images with several models, and lay the overlays out: a column per image, a row per model.

    Args:
        config: The settings.
        models: Run folders, from the top row to the bottom.
        images: Image files and folders; if there are none, the folder of val.
        data: Its val annotations are the ground truth, if asked for; red and green in it are those of the first model.
        overwrite: Replace a file that exists.

    Returns:
        The file ``config.out``.
    """
    check_ending(config.out, sheet_layout.FORMATS)
    refuse_to_replace(config.out, overwrite)
    loaded = [load_model(folder, config.checkpoint) for folder in models]
    pictured = read_sheet_images(images or [data.val_images], limit=config.limit)
    truth = []
    if config.truth:
        val = read_coco(data.val_annotations, data.val_images, categories=loaded[0].categories)
        truth.append(truth_row("ground truth", pictured, val, seen=loaded[0].seen))
    rows = []
    with progress(len(models) * len(pictured), "contact sheet", "images") as bar:
        for folder, model in zip(models, loaded, strict=True):
            rows.append(
                predicted_row(
                    folder.resolve().name,
                    whole_model(model, device=config.device),
                    pictured,
                    categories=model.categories,
                    seen=model.seen,
                    score_threshold=config.score_threshold,
                    bar=bar,
                )
            )
    captions = [image.path.name for image in pictured]
    sheet = sheet_layout.lay_out([*rows, *truth], captions, columns=config.columns)
    sheet_layout.save_sheet(sheet, config.out)
    return config.out
