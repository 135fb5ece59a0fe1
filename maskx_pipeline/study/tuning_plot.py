"""The plot of what `maskx tune` compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maskx_pipeline.study.report_svg import MUTED, SEEN, TEXT, UNSEEN, draw_svg
from maskx_pipeline.text import number_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"T": UNSEEN, "agnostic": SEEN, "shape": MUTED}
_LONGEST_NAME = 28


def plot_tuning(rows: Sequence[Mapping[str, Any]], *, name: str) -> str | None:
    """A bar for each design and shape, the mean mask IoU of hidden categories, and a mark for each fold.

    Args:
        rows: As :meth:`Tuning.summary` gives them.
        name: Different for each figure of a page.

    Returns:
        The ``<svg>`` element; None where nothing was measured.
    """
    measured = [row for row in rows if row["mask_iou"] is not None]
    if not measured:
        return None

    def draw(figure: Figure) -> dict[str, str]:
        axes = figure.add_subplot()
        hints = {}
        for place, row in enumerate(measured):
            (bar,) = axes.barh(place, row["mask_iou"], 0.6, color=_COLOURS[row["kind"]], alpha=0.55)
            bar.set_gid(f"{name}-{place}")
            folds = ", ".join(map(number_text, row["mask_iou_of_folds"]))
            hints[f"{name}-{place}"] = f"{row['name']}: {number_text(row['mask_iou'])}; folds: {folds}"
            if row["kind"] != "shape":
                axes.plot(
                    row["mask_iou_of_folds"], [place] * len(row["mask_iou_of_folds"]), "o", color=TEXT, markersize=4
                )
            end = max(row["mask_iou"], *row["mask_iou_of_folds"])
            axes.annotate(
                number_text(row["mask_iou"]), (end, place), xytext=(6, 0), textcoords="offset points", va="center",
                fontsize=10,
            )  # fmt: skip
        axes.set_yticks(range(len(measured)), [_shortened(row["name"]) for row in measured])
        axes.set_ylim(len(measured) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Mask IoU of hidden categories")
        axes.set_xlim(0, 100)
        axes.grid(axis="x")
        return hints

    title = "Mask IoU of each design on categories whose masks were hidden"
    return draw_svg(draw, title=title, width=5.6, height=0.8 + 0.3 * len(measured), name=name)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
