"""matplotlib's figures as SVG that is part of a page: its fonts, its text colour, light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN_COLOURS = 10

TEXT, MUTED, GRID, SEEN, UNSEEN, PAGE = "#010101", "#010102", "#010103", "#010104", "#010105", "#010106"
"""Stand-ins: matplotlib wants fixed colours, the page decides by its theme."""

_RUNS = tuple(f"#0102{number:02x}" for number in range(RUN_COLOURS))
_PAGE_COLOURS = {
    TEXT: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    SEEN: "var(--seen)",
    UNSEEN: "var(--unseen)",
    PAGE: "var(--page)",
    **{colour: f"var(--run-{number})" for number, colour in enumerate(_RUNS)},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: the browser has letters that no font here may have
    "font.sans-serif": ["DejaVu Sans"],  # one to measure with; the page's style sheet puts its own
    "font.size": 11,
    "text.color": TEXT,
    "text.parse_math": False,  # names are data: a dollar sign in one is no formula
    "axes.labelcolor": TEXT,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "hatch.linewidth": 1.4,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
}


def run_colour(number: int) -> str:
    """The stand-in for the colour of a run; the page has it as ``--run-N``."""
    return _RUNS[number % RUN_COLOURS]


def draw_svg(
    draw: Callable[[Figure], Mapping[str, str] | None], *, title: str, width: float, height: float, name: str
) -> str:
    """Draw a figure and make it an ``<svg>`` element for an HTML page.

    Args:
        draw: Draws into the figure; returns what to say of its parts, by their gid, when the pointer rests on them.
        title: What the figure shows, for those who do not see it.
        width: In inches of 72 CSS pixels; the page may scale it.
        name: Different for each figure of a page.

    Returns:
        The element; all text in it is escaped.
    """
    # Here and not above: only reports pay for it. Figure instead of pyplot needs no display and keeps no state.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    written = io.StringIO()
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser draws it
        figure = Figure(figsize=(width, height), layout="constrained")
        hints = draw(figure) or {}
        figure.savefig(written, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())
    _clean(root, hints)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": title}
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element, hints: Mapping[str, str]) -> None:
    """Make it fit for a page: plain names, no style sheet, no ids but those referred to, the page's colours."""
    used = set(
        re.findall(r"#([\w-]+)", " ".join(value for element in root.iter() for value in element.attrib.values()))
    )
    for element in root.iter():
        element.tag = _plain(element.tag)
        for child in list(element):
            if _plain(child.tag) in ("metadata", "style"):
                element.remove(child)
        hint = hints.get(element.get("id", ""))
        element.attrib = {
            _plain(key): re.sub("#01[0-9a-f]{4}", lambda colour: _PAGE_COLOURS[colour[0]], value)
            for key, value in element.attrib.items()
            if _plain(key) != "id" or value in used
        }
        if hint is not None:
            label = ElementTree.Element("title")
            label.text = hint
            element.insert(0, label)


def _plain(name: str) -> str:
    return name.rsplit("}", 1)[-1]
