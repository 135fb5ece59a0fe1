"""The review in a real browser, opened as a file: keys, buttons, filters, decisions, and no page wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import new_page, open_chromium
from review_world import EVIL, FILES, review, write_annotated

from maskx_pipeline.annotate.rejected import read_rejected

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the review."""
    folder = tmp_path_factory.mktemp("annotated & <b>'s")
    write_annotated(folder)
    return review(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_chromium() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Any, written: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The review, opened; at the end, nothing was complained of, and nothing asked for but files of the folder."""
    folder = f"{written.as_uri()}/"
    allowed = ("data:", folder, "blob:")
    with new_page(browser, getattr(request, "param", None)) as (opened, complaints):
        opened.on("request", lambda asked: asked.url.startswith(allowed) or complaints.append(asked.url))
        opened.goto(f"{folder}index.html")
        wait_for(opened, "60")
        yield opened
        assert complaints == []


def wait_for(page: Any, annotation: str) -> None:
    """Until this mask is shown: its outlines are loaded when they are needed."""
    playwright.expect(page.locator("#annotation")).to_have_text(annotation)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def decided(page: Any) -> str:
    text: str = page.inner_text("#progress")
    return text


def test_keys_go_on_and_back_and_decide(page: Any) -> None:
    """Least certain first; a decision goes on to the next; undo takes it back."""
    assert page.inner_text("#confidence") == "0.40"
    press(page, "ArrowRight", "ArrowRight")
    wait_for(page, "58")
    press(page, "ArrowLeft")
    wait_for(page, "59")
    press(page, "r")
    wait_for(page, "58")
    press(page, "A")
    wait_for(page, "57")
    assert decided(page) == "1 accepted, 1 rejected, 58 undecided"
    press(page, "ArrowLeft")
    wait_for(page, "58")
    assert page.inner_text("#decision") == "accepted"
    press(page, "u")
    playwright.expect(page.locator("#decision")).to_have_text("undecided")
    assert decided(page) == "0 accepted, 1 rejected, 59 undecided"
    press(page, "End", "ArrowRight")
    wait_for(page, "1")
    assert page.locator("#next").is_disabled()
    press(page, "Home")
    wait_for(page, "60")


def test_buttons_do_what_keys_do(page: Any) -> None:
    """And a thumbnail is gone to; the page of thumbnails follows."""
    page.click("#next")
    wait_for(page, "59")
    page.click("#accept")
    wait_for(page, "58")
    page.click("#reject")
    wait_for(page, "57")
    page.click("#previous")
    wait_for(page, "58")
    page.click("#undo")
    assert decided(page) == "1 accepted, 0 rejected, 59 undecided"
    thumbs = page.locator(".thumb")
    assert thumbs.count() == 24
    playwright.expect(page.locator(".thumb svg image")).to_have_count(24)
    thumbs.nth(5).click()
    wait_for(page, "55")
    page.click("#page-next")
    wait_for(page, "36")
    assert page.inner_text("#page-count") == "Page 2 of 3"
    assert page.locator(".thumb[aria-current=true]").get_attribute("aria-label").endswith("annotation 36")


def test_a_mask_is_drawn_on_its_picture_and_can_be_hidden(page: Any) -> None:
    """By a key, and again by the button; the names of the data are text."""
    mask = page.locator("#stage .mask")
    assert mask.get_attribute("d") == "M8 8L48 8L48 28L8 28Z"
    assert "seen" in mask.get_attribute("class").split()
    href = page.locator("#stage image").get_attribute("href")
    assert href == "crops/000/000000.webp"
    press(page, "m")
    assert not mask.is_visible()
    page.click("#toggle")
    assert mask.is_visible()
    assert page.inner_text("#category") == EVIL
    press(page, "ArrowRight")
    wait_for(page, "59")
    assert page.inner_text("#file") == FILES[2]
    assert "unseen" in page.locator("#stage .mask").get_attribute("class").split()


def test_filters_leave_a_category_a_range_and_what_is_undecided(page: Any) -> None:
    """The count is told; with the undecided ones alone, a decided one goes and the next comes in its place."""
    option = page.locator("#filter-category option").filter(has_text="=2+3")
    assert option.inner_text() == "=2+3 (20)"
    page.select_option("#filter-category", option.get_attribute("value"))
    wait_for(page, "58")
    assert page.inner_text("#count") == "1 of 20 (of 60)"
    page.fill("#filter-low", "0.9")
    page.fill("#filter-high", "0.97")
    page.press("#filter-high", "Enter")
    wait_for(page, "10")
    assert page.inner_text("#count") == "1 of 3 (of 60)"
    page.select_option("#filter-decision", "todo")
    page.locator("#count").click()
    press(page, "r")
    wait_for(page, "7")
    assert page.inner_text("#count") == "1 of 2 (of 60)"
    press(page, "r", "r")
    assert "No mask is left" in page.inner_text("#stage")
    assert page.locator("#accept").is_disabled()
    press(page, "a", "ArrowRight")
    page.click("#filter-reset")
    assert page.inner_text("#count").endswith("of 60")
    assert decided(page) == "0 accepted, 3 rejected, 57 undecided"


def test_letters_in_a_field_decide_nothing(page: Any) -> None:
    """Nor does a shortcut of the browser."""
    page.focus("#filter-category")
    press(page, "a", "r")
    page.locator("#count").click()
    press(page, "Control+m", "Alt+r")
    assert decided(page) == "0 accepted, 0 rejected, 60 undecided"


def test_decisions_outlive_the_page_and_are_downloaded_for_rejected(page: Any, tmp_path: Path) -> None:
    """As the CSV that maskx takes."""
    assert page.locator("#download").is_disabled()
    press(page, "r", "a", "r")
    wait_for(page, "57")
    page.reload()
    wait_for(page, "60")
    assert decided(page) == "1 accepted, 2 rejected, 57 undecided"
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "decisions.csv"
    download.value.save_as(tmp_path / "decisions.csv")
    assert (tmp_path / "decisions.csv").read_text(encoding="utf-8").splitlines() == [
        "annotation_id,decision,confidence", "60,rejected,0.4000", "59,accepted,0.4100", "58,rejected,0.4200",
    ]  # fmt: skip
    assert read_rejected(tmp_path / "decisions.csv") == {58, 60}


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True)
def test_the_theme_is_the_systems_until_it_is_chosen(page: Any) -> None:
    """The plot goes with it."""

    def lightness() -> list[float]:
        of_page = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colours = [of_page, page.evaluate("getComputedStyle(document.querySelector('.plot text')).fill")]
        return [sum(map(float, c[c.index("(") + 1 : -1].split(",")[:3])) for c in colours]

    dark_first = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground, ink = lightness()
    assert (ground < ink) is dark_first
    page.select_option("#theme", "light" if dark_first else "dark")
    ground, ink = lightness()
    assert (ground < ink) is not dark_first


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_on_a_phone_mask_and_buttons_are_in_reach(page: Any) -> None:
    """The page is as wide as the screen, and nothing has to be scrolled to before a decision."""
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for name in ("#stage", "#accept", "#reject", "#next"):
        box = page.locator(name).bounding_box()
        assert 0 <= box["y"] <= box["y"] + box["height"] <= 844
    page.click("#filters summary")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click("#accept")
    wait_for(page, "59")
