"""The plot of Figure 3: a point per split, the sizes of the set in colours and shapes, and the mean of each size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskx_pipeline.provenance.files import atomic_path, check_ending
from maskx_pipeline.provenance.seals import append_seal
from maskx_pipeline.study.splits import SplitStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# By ending, what is left out of the file so that the same runs give the same bytes.
FORMATS: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
    ".png": {},
}

_MARKERS = "os^DvPX*"
_DARKEST, _LIGHTEST = 0.0, 0.82  # of viridis, whose order is also one of lightness, for print in grey
_INK, _GREY = "#222222", "#8a8a8a"
_MARGIN = 1.12  # factor left free beyond the outermost points of the logarithmic axis
_NARROW = 4.0  # below this ratio a logarithmic axis would have no more than two of the usual ticks
_STYLE: Any = {  # matplotlib types it by its hundreds of keys
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "maskx",
    "pdf.fonttype": 42,
}


def plot_splits(study: SplitStudy, path: Path) -> None:
    """Draw the relative change of AP on unseen categories against the masks per seen category.

    Args:
        study: The points; those without a change are left out.
        path: The file; its ending, one of :data:`FORMATS`, is its format.

    Raises:
        ConfigError: Another ending.
    """
    check_ending(path, FORMATS)
    # Here and not above: only this command pays for it. Figure instead of pyplot needs no display and keeps no state.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.8, 3.8), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        _draw(axes, study)
        kind = path.suffix.lower()
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind[1:], dpi=200, metadata=FORMATS[kind])
            append_seal(temporary)


def _draw(axes: Axes, study: SplitStudy) -> None:
    import matplotlib as mpl

    sizes, means = study.by_size(), study.means()
    every = [point.masks for points in sizes.values() for point in points]
    step = (_LIGHTEST - _DARKEST) / max(1, len(sizes) - 1)
    axes.axhline(0, color=_GREY, linewidth=0.8, dashes=(4, 3), zorder=1)
    for n, (size, points) in enumerate(sizes.items()):
        colour = mpl.colormaps["viridis"](_DARKEST + n * step)
        masks = [point.masks for point in points]
        changes = [point.change for point in points if point.change is not None]
        axes.axhline(means[size], color=colour, linewidth=1, alpha=0.55, zorder=2)
        axes.plot(
            masks, changes, _MARKERS[n % len(_MARKERS)], color=colour, markersize=6.5, markeredgecolor="white",
            markeredgewidth=0.6, label=f"{size}: {means[size]:+.1f} %", zorder=3, clip_on=False,
        )  # fmt: skip
    _log_axis(axes, min(every) / _MARGIN, max(every) * _MARGIN)
    axes.set_xlabel("Mask annotations per category with masks (mean of the split)")
    axes.set_ylabel("Mask AP on unseen categories:\nchange from the baseline (%)")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=3, width=0.8)
    axes.margins(y=0.08)
    axes.legend(
        title="Categories with masks,\nand mean of the splits", loc="center left", bbox_to_anchor=(1.01, 0.5),
        frameon=False, alignment="left", borderpad=0, handletextpad=0.3,
    )  # fmt: skip


def _log_axis(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_xscale("log")
    axes.set_xlim(low, high)
    wide = high / low >= _NARROW
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)) if wide else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
