"""Runs of a study as one page to look at and to hand on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from maskx_pipeline.config import DataConfig, MasksConfig, ReportConfig
from maskx_pipeline.data.records import categories_from_json
from maskx_pipeline.errors import MaskXError, RunError
from maskx_pipeline.provenance.files import atomic_path
from maskx_pipeline.provenance.lock import locked
from maskx_pipeline.provenance.seals import append_seal
from maskx_pipeline.stages.inputs import NO_MASKS, read_mask_val, refuse_to_replace
from maskx_pipeline.study.report_gallery import draw_gallery
from maskx_pipeline.study.report_html import Gallery, render_report
from maskx_pipeline.study.report_runs import ReportedRun, baseline_of, category_gains, read_reported_runs, shown_run
from maskx_pipeline.text import printable

logger = logging.getLogger("maskx")

_MEGABYTE = 1_000_000
_LARGE = 20 * _MEGABYTE  # what mail and chat programs still take


def report(
    config: ReportConfig,
    runs: Sequence[Path],
    data: DataConfig,
    *,
    masks: MasksConfig = NO_MASKS,
    overwrite: bool = False,
    command: str = "",
) -> Path:
    """Write one HTML file about evaluated runs, ``config.out``, which needs neither network nor other files.

    Where the masks or the images are gone, the report has no gallery and says why.

    Raises:
        RunError: A run was not evaluated.
        ConfigError: The file exists.
    """
    with locked(config.out):
        return _report(config, runs, data, masks, overwrite, command)


def _report(
    config: ReportConfig, runs: Sequence[Path], data: DataConfig, masks: MasksConfig, overwrite: bool, command: str
) -> Path:
    """See :func:`report`."""
    refuse_to_replace(config.out, overwrite)
    reported = read_reported_runs(runs)
    shown = shown_run(reported)
    baseline = baseline_of(shown, reported)
    gallery = _gallery(config, shown, baseline, data, masks)
    about = {"sha256 of val annotations": shown.val_digest or "not recorded"}
    text = render_report(reported, shown, gallery=gallery, data=about, command=command)
    page = printable(text).encode("utf-8")
    with atomic_path(config.out) as temporary:
        temporary.write_bytes(page)
        append_seal(temporary)
    logger.info("%s: %.1f MB, images: %d", config.out, len(page) / _MEGABYTE, len(gallery.items))
    if len(page) > _LARGE:
        logger.warning("%s is larger than %d MB; give a smaller --images.", config.out, _LARGE // _MEGABYTE)
    return config.out


def _gallery(
    config: ReportConfig, shown: ReportedRun, baseline: ReportedRun, data: DataConfig, masks: MasksConfig
) -> Gallery:
    if config.images == 0:
        return Gallery(missing="It was left out (--images 0).")
    entries = sorted(shown.content.get("categories", ()), key=lambda entry: int(entry["id"]))
    categories = categories_from_json(entries)
    seen = frozenset(category.label for category in categories if category.id in shown.compared.trained)
    panels = {f"baseline: {baseline.name}": baseline} if baseline is not shown else {}
    panels[f"transfer: {shown.name}" if panels else shown.name] = shown
    try:
        val = read_mask_val(data, masks, categories=categories)
        for run in panels.values():
            if run.val_digest != val.digest:
                raise RunError(f"{run.folder} was measured against other annotations than {val.path}.")
        items = draw_gallery(
            panels,
            val,
            gains=category_gains(shown, baseline),
            seen=seen,
            count=config.images,
            score_threshold=config.score_threshold,
        )
    except MaskXError as error:
        logger.warning("The report has no gallery. %s", error)
        return Gallery(missing=error.message)
    return Gallery(
        items=items,
        run=shown.name,
        categories={category.label: (category.id, category.name, category.label in seen) for category in categories},
        images=len(val.images),
        score_threshold=config.score_threshold,
    )
