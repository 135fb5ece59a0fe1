"""The report in a real browser: no error, filters, lightbox, themes, and no page wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import new_page, open_chromium
from report_world import NAMES, make_study

from maskx_pipeline.config import DataConfig, ReportConfig
from maskx_pipeline.stages.report import report as write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = make_study(tmp_path_factory.mktemp("study"))
    data = DataConfig(val_images=study.project / "val", val_annotations=study.project / "val.json")
    return write_report(ReportConfig(out=study.project / "r.html"), [study.baseline, study.transfer], data)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The report, opened; at the end, nothing was complained of and nothing asked for but the file."""
    with new_page(browser, getattr(request, "param", None)) as (opened, complaints):
        opened.on("request", lambda asked: asked.url.startswith("data:") or complaints.append(asked.url))
        opened.goto(report.as_uri())
        yield opened
        assert complaints == [report.as_uri()]


def visible_items(page: Any) -> int:
    return page.locator(".item:visible").count()


def test_the_filter_leaves_the_images_of_a_category(page: Any) -> None:
    """Whatever letters its name has; the count is told, and a button brings all back."""
    choices = page.locator("#filter-category option")
    counts = {"": 3}
    for name, count in ((NAMES[8], 1), (NAMES[5], 3), (NAMES[3], 3)):
        option = choices.filter(has_text=name)
        page.select_option("#filter-category", option.get_attribute("value"))
        counts[name] = visible_items(page)
        assert counts[name] == count
        assert page.inner_text("#filter-count") == f"{count} of 3 images"
    page.click("#filter-reset")
    assert visible_items(page) == 3


def test_the_table_of_categories_can_be_searched(page: Any) -> None:
    """By a part of a name."""
    rows = page.locator("#category-table tbody tr:visible")
    assert rows.count() == len(NAMES)
    page.fill("#find-category", "КЛЮЧ")
    assert rows.count() == 1
    page.fill("#find-category", '"quoted"')
    assert rows.all_inner_texts()[0].startswith(NAMES[5])


def test_the_lightbox_is_worked_by_keyboard(page: Any) -> None:
    """Enter opens it, arrows go on and back and around, Esc closes it and the focus returns to the picture."""
    caption = page.locator("#lightbox-caption")
    page.locator(".zoom").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    assert page.locator("#lightbox").is_visible()
    assert caption.inner_text().endswith("masks: baseline: agnostic")
    page.keyboard.press("ArrowRight")
    assert "transfer: " in caption.inner_text()
    page.keyboard.press("ArrowRight")
    assert caption.inner_text().endswith("where they differ")
    page.keyboard.press("ArrowRight")
    assert caption.inner_text().endswith("ground truth")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    assert caption.inner_text().endswith("ground truth")
    # Browsers decode a picture, and tell a dialog's script that it was closed, a moment after the key: these wait.
    playwright.expect(page.locator("#lightbox-image")).to_have_js_property("naturalWidth", 512)
    page.keyboard.press("Escape")
    playwright.expect(page.locator("#lightbox")).to_be_hidden()
    focused = "document.activeElement.getAttribute('aria-label') ?? ''"
    for _ in range(50):  # by evaluate alone: wait_for_function is code from text, which the page forbids
        if "ground truth" in page.evaluate(focused):
            break
        page.wait_for_timeout(100)
    assert "ground truth" in page.evaluate(focused)


def test_the_lightbox_goes_only_through_what_the_filter_left(page: Any) -> None:
    """One image has four pictures."""
    option = page.locator("#filter-category option").filter(has_text=NAMES[8])
    page.select_option("#filter-category", option.get_attribute("value"))
    page.locator(".zoom:visible").first.click()
    captions = []
    for _ in range(5):
        captions.append(page.inner_text("#lightbox-caption"))
        page.click("#lightbox-next")
    assert captions[4] == captions[0]
    assert len(set(captions)) == 4
    page.click("#lightbox-close")


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True)
def test_the_theme_is_the_systems_until_it_is_chosen(page: Any) -> None:
    """And the plots go with it."""

    def lightness() -> tuple[float, float]:
        of_page = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colours = [of_page, page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")]
        return tuple(sum(map(float, c[c.index("(") + 1 : -1].split(",")[:3])) for c in colours)  # type: ignore[return-value]

    dark_first = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground, ink = lightness()
    assert (ground < ink) is dark_first
    page.select_option("#theme", "light" if dark_first else "dark")
    ground, ink = lightness()
    assert (ground < ink) is not dark_first
    fonts = [f"getComputedStyle(document.querySelector('{part}')).fontFamily" for part in ("body", "svg text")]
    assert page.evaluate(fonts[0]) == page.evaluate(fonts[1])


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_a_phone_scrolls_tables_and_never_the_page_sideways(page: Any) -> None:
    """Also with all details open; the plots are as wide as the page."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
    )
    assert wide > 0
    assert (
        page.evaluate("Math.max(...[...document.querySelectorAll('svg')].map((e) => e.getBoundingClientRect().right))")
        <= 390
    )


@pytest.mark.parametrize("page", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_everything_is_shown(page: Any) -> None:
    """The page is read, if not filtered."""
    assert visible_items(page) == 3
    assert page.locator(".gain:visible").count() == 1
