"""An evaluation as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskx_pipeline.errors import listed

if TYPE_CHECKING:
    from maskx_pipeline.evaluation.evaluate import CategoryAp, Evaluation

_FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL")
_WIDTH = 6
_COUNT = 8
_NAMED = 8  # categories named in a remark before "and N more"


def evaluation_table(evaluation: Evaluation, *, per_category: bool = False) -> str:
    """Category sets down, box and mask AP across, in percent; ``-`` where there is nothing to measure."""
    origin = {"cache": "cached detections", "images": "the images"}.get(evaluation.source, evaluation.source)
    title = f"{evaluation.images} images, {evaluation.detections} detections, from {origin}"
    if evaluation.model:
        title = f"{evaluation.model}: {title}"
    first = max([len(row.name) for row in evaluation.sets] + [6])
    figures = "".join(name.rjust(_WIDTH) for name in _FIGURES)
    groups = f"{_ruled('box', len(figures))}  {_ruled('mask', len(figures))}"
    lines = [
        title,
        "",
        f"{'':{first}}{'':{_COUNT}}{groups}",
        f"{'set':{first}}{'categ.':>{_COUNT}}{figures}  {figures}",
    ]
    for row in evaluation.sets:
        box, mask = _numbers(row.box.figures()), _numbers(row.mask.figures())
        lines.append(f"{row.name:{first}}{row.categories:>{_COUNT}}{box}  {mask}")
    lines += _remarks(evaluation.categories)
    if per_category:
        lines += ["", *_category_lines(evaluation.categories)]
    return "\n".join(lines)


def _ruled(title: str, width: int) -> str:
    return f" {title} ".center(width - 3, "-").rjust(width)


def _numbers(values: Sequence[float]) -> str:
    return "".join(_number(value).rjust(_WIDTH) for value in values)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def _remarks(categories: Sequence[CategoryAp]) -> list[str]:
    absent = [row.name for row in categories if row.objects == 0]
    maskless = [row.name for row in categories if row.objects > 0 and row.masks == 0]
    lines = []
    if absent:
        lines.append(f"Not in val, so not counted: {listed(absent, _NAMED)}.")
    if maskless:
        lines.append(f"Without a mask in val, so not counted in mask AP: {listed(maskless, _NAMED)}.")
    return ["", *lines] if lines else []


def _category_lines(categories: Sequence[CategoryAp]) -> list[str]:
    first = max([len(row.name) for row in categories] + [8])
    lines = [f"{'category':{first}}          objects   masks  box AP mask AP"]
    for row in sorted(categories, key=lambda row: (not row.seen, row.label)):
        kind = "seen" if row.seen else "unseen"
        lines.append(
            f"{row.name:{first}}  {kind:6}{row.objects:>9}{row.masks:>8}{_number(row.box):>8}{_number(row.mask):>8}"
        )
    return lines
