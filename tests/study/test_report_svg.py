"""Plots as parts of a page: real vectors, in the page's colours, with nothing that could leave them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from maskx_pipeline.study.report_plots import MOST_BARS, plot_gains
from maskx_pipeline.study.report_runs import CategoryGain

NAMES = ["<script>x</script>", "$x_1$ 100%", "北京 é", "a \"b\" & 'c' <!-- d -->", "plain\nname"]


def gains(names: list[str]) -> list[CategoryGain]:
    """The first is the best; the second half is seen."""
    return [
        CategoryGain(index=n, name=name, seen=n >= len(names) / 2, ap=50.0 - n / 10, baseline_ap=20.0)
        for n, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def svg() -> str:
    """A bar for each name."""
    made = plot_gains(gains(NAMES), run="t", baseline="agnostic", name="g0")
    assert made is not None
    return made


def test_names_are_text_and_never_markup_or_formulas(svg: str) -> None:
    """Each is there whole, as text that can be searched; a line break in it is a space."""
    root = ElementTree.fromstring(svg)
    texts = ["".join(element.itertext()) for element in root.iter("text")]
    for name in NAMES:
        assert " ".join(name.split()) in texts
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "g",
        "path",
        "text",
        "title",
        "use",
        "defs",
        "clipPath",
        "pattern",
        "rect",
        "tspan",
    }
    assert "<script" not in svg


def test_unseen_bars_are_hatched_in_the_colour_of_the_page(svg: str) -> None:
    """Red and green look alike to many; of the names the first half is unseen."""
    root = ElementTree.fromstring(svg)
    patterns = {f"url(#{element.get('id')})" for element in root.iter("pattern")}
    hatched = [e for e in root.iter("path") if any(pattern in e.get("style", "") for pattern in patterns)]
    assert len(hatched) == sum(not gain.seen for gain in gains(NAMES))
    assert all("var(--page)" in "".join(ElementTree.tostring(e, "unicode") for e in root.iter("pattern")) for _ in (0,))


def test_colours_are_those_of_the_page(svg: str) -> None:
    """So that the same plot is right in light and dark: no colour of its own, and no style sheet."""
    assert re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
    assert "currentColor" in svg
    assert "var(--seen)" in svg
    assert "var(--unseen)" in svg
    assert "<style" not in svg


def test_bars_say_what_they_are(svg: str) -> None:
    """A title on each bar, and a name for the whole."""
    root = ElementTree.fromstring(svg)
    titles = [element.text for element in root.iter("title")]
    assert titles.count("plain\nname (seen): agnostic 20.0, t 49.6, +29.6") == 2
    assert len(titles) == 2 * len(NAMES)
    assert root.attrib["role"] == "img"
    assert "by falling gain" in root.attrib["aria-label"]


def test_ids_of_two_plots_do_not_meet(svg: str) -> None:
    """And only ids that are referred to are left."""
    other = plot_gains(gains(NAMES), run="t", baseline="agnostic", name="g1")
    assert other is not None
    first, second = (set(re.findall(r'\bid="([^"]*)"', text)) for text in (svg, other))
    assert not first & second
    for text, ids in ((svg, first), (other, second)):
        assert ids == set(re.findall(r"#([\w-]+)", text))


def test_of_many_categories_the_best_and_the_worst_are_drawn() -> None:
    """In one plot of bounded height."""
    made = plot_gains(gains([f"c{n}" for n in range(3 * MOST_BARS)]), run="t", baseline="a", name="g")
    assert made is not None
    texts = ["".join(element.itertext()) for element in ElementTree.fromstring(made).iter("text")]
    drawn = [text for text in texts if text.startswith("c")]
    assert drawn == [f"c{n}" for n in [*range(MOST_BARS // 2), *range(3 * MOST_BARS - MOST_BARS // 2, 3 * MOST_BARS)]]


def test_an_ap_of_next_to_nothing_is_drawn_as_such() -> None:
    """An axis of AP goes up to one point at least, also where all bars end far below."""
    row = CategoryGain(index=0, name="cat", seen=True, ap=0.002, baseline_ap=0.001)
    drawn = plot_gains([row], run="t", baseline="b", name="x")
    assert drawn is not None
    assert ">1.0<" in drawn
    assert ">0.001" not in drawn


def test_without_a_measured_gain_there_is_no_plot() -> None:
    """A plot without bars says nothing."""
    assert plot_gains([CategoryGain(0, "a", True, None, 3.0)], run="t", baseline="a", name="g") is None
