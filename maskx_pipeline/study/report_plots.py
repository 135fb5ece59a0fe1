"""The plots of a report: AP on seen and unseen, loss and AP during training, and gains by category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maskx_pipeline.study.report_runs import CategoryGain, ReportedRun
from maskx_pipeline.study.report_svg import GRID, MUTED, PAGE, SEEN, UNSEEN, draw_svg, run_colour
from maskx_pipeline.text import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 80
"""Categories in one plot; of more, the half with the greatest and that with the smallest gains are drawn."""

_WIDTH = 5.6  # inches of 72 CSS pixels: about that of a phone, so that its text can be read there
_INCHES_PER_ROW = 0.3
_LONGEST_NAME = 28
_LEAST_AP = 1.0  # where an axis of AP may end: a hundredth of a point, drawn large, would pass for something


def plot_sets(runs: Sequence[ReportedRun]) -> str:
    """Two bars for each run: mask AP on its unseen and on its seen categories."""

    def draw(figure: Figure) -> dict[str, str]:
        axes = figure.add_subplot()
        hints: dict[str, str] = {}
        sets = [("unseen", UNSEEN, -0.2), ("seen", SEEN, 0.2)]
        for row, run in enumerate(runs):
            for kind, colour, offset in sets:
                ap = (run.compared.unseen if kind == "unseen" else run.compared.seen)["AP"]
                if ap is not None:
                    hint = f"{run.name}: AP {ap:.1f} on {kind} categories"
                    _bar(axes, row + offset, ap, colour, 0.38, gid=f"set-{row}-{kind}", hints=hints, hint=hint)
                    axes.annotate(number_text(ap), (ap, row + offset), **_right_of(), fontsize=10)
        _rows(axes, [run.name for run in runs])
        _label_ap(axes)
        return hints

    height = 0.8 + 0.55 * len(runs)
    return draw_svg(
        draw, title="Mask AP of each run on unseen and seen categories", width=_WIDTH, height=height, name="s"
    )


def plot_losses(runs: Sequence[ReportedRun]) -> str | None:
    """The mask loss of each run by training step; None where no run recorded one."""
    lines = [(run, number, [run.losses()], ["-"]) for number, run in enumerate(runs)]
    return _curves(lines, title="Mask loss by training step", label="Mask loss", name="l")


def plot_ap(runs: Sequence[ReportedRun]) -> str | None:
    """Mask AP measured in training, on unseen (solid) and seen categories (dashed).

    None where no run measured it more than once: a point is no curve, and the table has its like.
    """
    lines = [
        (run, number, [run.measured("unseen_mask_ap"), run.measured("seen_mask_ap")], ["-", "--"])
        for number, run in enumerate(runs)
    ]
    if all(len(points) < 2 for _, _, series, _ in lines for points in series):
        return None
    return _curves(lines, title="Mask AP by training step", label="Mask AP", name="a", least=_LEAST_AP)


def plot_gains(rows: Sequence[CategoryGain], *, run: str, baseline: str, name: str) -> str | None:
    """The AP of each category under that of the baseline, by falling gain; None where no gain was measured."""
    measured = [(row, row.ap, row.baseline_ap) for row in rows if row.ap is not None and row.baseline_ap is not None]
    if len(measured) > MOST_BARS:
        measured = measured[: MOST_BARS // 2] + measured[-MOST_BARS // 2 :]
    if not measured:
        return None

    def draw(figure: Figure) -> dict[str, str]:
        axes = figure.add_subplot()
        hints: dict[str, str] = {}
        for place, (row, ap, baseline_ap) in enumerate(measured):
            kind = "seen" if row.seen else "unseen"
            hint = f"{row.name} ({kind}): {baseline} {baseline_ap:.1f}, {run} {ap:.1f}, {ap - baseline_ap:+.1f}"
            colour = SEEN if row.seen else UNSEEN
            _bar(axes, place - 0.19, baseline_ap, MUTED, 0.3, gid=f"base-{place}", hints=hints, hint=hint)
            _bar(axes, place + 0.15, ap, colour, 0.38, gid=f"gain-{place}", hints=hints, hint=hint)
            axes.annotate(f"{ap - baseline_ap:+.1f}", (max(ap, baseline_ap), place), **_right_of(), fontsize=10)
        _rows(axes, [row.name for row, _, _ in measured])
        for label, (row, _, _) in zip(axes.get_yticklabels(), measured, strict=True):
            label.set_color(SEEN if row.seen else UNSEEN)
            label.set_fontstyle("normal" if row.seen else "italic")
        _label_ap(axes)
        return hints

    title = f"Mask AP by category: {run} beside {baseline}, by falling gain"
    return draw_svg(draw, title=title, width=_WIDTH, height=0.8 + _INCHES_PER_ROW * len(measured), name=name)


_Line = tuple[ReportedRun, int, list[list[tuple[float, float]]], list[str]]


def _curves(lines: Sequence[_Line], *, title: str, label: str, name: str, least: float = 0.0) -> str | None:
    if not any(points for _, _, series, _ in lines for points in series):
        return None

    def draw(figure: Figure) -> dict[str, str]:
        axes = figure.add_subplot()
        hints = {}
        for run, number, series, styles in lines:
            for part, (points, style) in enumerate(zip(series, styles, strict=True)):
                if points:
                    (line,) = axes.plot(
                        *zip(*points, strict=True),
                        linestyle=style,
                        color=run_colour(number),
                        linewidth=1.6,
                        # A single measurement is no line.
                        marker=("o" if style == "-" else "s") if len(points) < 12 else None,
                        markerfacecolor=run_colour(number) if style == "-" else "none",
                        markersize=5,
                        gid=f"line-{number}-{part}",
                    )
                    hints[str(line.get_gid())] = run.name
        axes.set_xlabel("Training step")
        axes.set_ylabel(label)
        axes.grid(axis="y")
        axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], least))
        axes.set_xlim(left=0)
        return hints

    return draw_svg(draw, title=title, width=_WIDTH, height=3.4, name=name)


def _bar(
    axes: Axes, y: float, value: float, colour: str, thickness: float, *, gid: str, hints: dict[str, str], hint: str
) -> None:
    # Colour alone does not tell everyone unseen from seen. The edge has the colour of the hatching, and no width.
    hatch = "///" if colour == UNSEEN else None
    (bar,) = axes.barh(y, value, thickness, color=colour, hatch=hatch, edgecolor=PAGE, linewidth=0)
    bar.set_gid(gid)
    hints[gid] = hint


def _label_ap(axes: Axes) -> None:
    """The horizontal axis of AP, with room for the numbers at the ends of the bars."""
    axes.set_xlabel("Mask AP")
    axes.margins(x=0.12)
    axes.set_xlim(right=max(axes.get_xlim()[1], _LEAST_AP))


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows, the first one at the top."""
    axes.set_yticks(range(len(names)), [_shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.grid(axis="x", color=GRID)


def _right_of() -> dict[str, Any]:
    return {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "ha": "left"}


def _shortened(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"
