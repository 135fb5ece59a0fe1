"""The report as a page: whole in itself, escaped, and usable; without a browser."""

from __future__ import annotations

import logging
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_world import NAMES, T_NAME, Study, make_study

from maskx_pipeline.commands import run
from maskx_pipeline.config import DataConfig, ReportConfig
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.stages.compare import compare
from maskx_pipeline.stages.report import report

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Tags with their attributes, and the text inside of those that are asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def data_of(study: Study) -> DataConfig:
    return DataConfig(val_images=study.project / "val", val_annotations=study.project / "val.json")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Read only."""
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def text(study: Study) -> str:
    """The whole report."""
    config = ReportConfig(out=study.project / "report.html")
    path = report(config, [study.baseline, study.transfer], data_of(study), command="maskx report <b>")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_loads_nothing(text: str, page: Page) -> None:
    """No address but its own places and what it holds; its policy forbids the rest."""
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), attributes
    assert not re.search(r"@import|url\((?!#)", text)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src 'sha256-" in policy


def test_names_are_text_wherever_they_stand(page: Page) -> None:
    """One script, no event handlers, no element that a name brought; the names are there as they are."""
    assert len(page.all("script")) == 1
    assert [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    assert page.all("b") == [{"class": "seen-word"}, {"class": "unseen-word"}]
    table = " ".join(page.texts["th"])
    assert [name for name in [*NAMES.values(), T_NAME] if name not in table] == []
    plots = page.texts["svg"]
    assert [name for name in NAMES.values() if name != NAMES[9] and not any(name[:20] in plot for plot in plots)] == []


def test_every_id_is_given_once_and_every_reference_has_one(page: Page) -> None:
    """In the page and its plots."""
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = [
        value[1:]
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name == "href" and value[:1] == "#"
    ]
    references += [
        attributes[name] for _, attributes in page.tags for name in ("for", "aria-labelledby") if name in attributes
    ]
    assert set(references) <= set(ids)
    assert len(references) > 10


def test_the_filter_has_the_categories_of_the_gallery(page: Page) -> None:
    """By label, never by name; unseen ones first."""
    items = [attributes["data-labels"].split() for _, attributes in page.tags if "data-labels" in attributes]
    assert len(items) == 3
    options = [option["value"] for option in page.all("option")]
    labels = options[options.index("") + 3 :]
    labels = labels[labels.index("") + 1 :]
    assert sorted(labels) == sorted({label for item in items for label in item})
    shown = [" ".join(entry.split()) for entry in page.texts["option"][-len(labels) :]]
    assert shown == [f"{NAMES[5]} (3)", f"#8 {NAMES[8]} (1)", f"{NAMES[3]} (3)", f"{NAMES[12]} (3)"]
    assert [group["label"] for group in page.all("optgroup")] == ["unseen", "seen"]


def test_the_gallery_can_be_used_by_keyboard_and_heard(page: Page) -> None:
    """Each picture is a button with a name, and has a text; wide boxes can be reached to be scrolled."""
    pictures = [image for image in page.all("img") if "src" in image]
    buttons = [button for button in page.all("button") if button.get("class") == "zoom"]
    assert len(pictures) == len(buttons) == 12
    assert all(image["alt"] and image["src"].startswith("data:image/webp;base64,") for image in pictures)
    assert all(button["aria-label"].startswith("Enlarge ") for button in buttons)
    boxes = [attributes for _, attributes in page.tags if "scroll" in attributes.get("class", "").split()]
    assert all(box.get("tabindex") == "0" and box.get("aria-label") for box in boxes)


def test_commands_settings_and_digests_are_exact(study: Study, text: str, page: Page) -> None:
    """Those of the runs and of their detector, as they were recorded."""
    blocks = page.texts["pre"]
    assert f"maskx detect\nmaskx fit {T_NAME}" in blocks[2]
    assert "[detect]\nlr = 0.5" in blocks[3]
    assert 'embedding = "cls"' in blocks[3]
    assert "# embedding-file: not given" in blocks[3]
    facts = page.texts["dd"]
    for value in ("c" * 64, "d" * 64, study.val.digest, "maskx report <b>"):
        assert value in facts
    assert "<td>none</td><td>cls</td>" in text  # settings in which they differ


def test_the_comparison_is_that_of_maskx_compare(study: Study, page: Page) -> None:
    """Cell by cell."""
    row = compare([study.transfer]).to_json()["runs"][0]
    figures = [f"{row[kind][name]:.1f}" for kind in ("unseen mask", "seen mask") for name in ("AP", "AP50")]
    cells = page.texts["td"]
    start = cells.index("rbf+xy+boxes")
    assert cells[start + 2 : start + 6] == figures


def test_without_images_the_report_says_so(study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Left out, of other data, or gone: everything else is there."""
    out = tmp_path / "report.html"
    runs = [study.baseline, study.transfer]
    report(ReportConfig(out=out, images=0), runs, data_of(study))
    assert "There is no gallery. It was left out" in out.read_text(encoding="utf-8")
    shutil.copytree(study.project / "val", tmp_path / "val")
    other = tmp_path / "val.json"
    other.write_text((study.project / "val.json").read_text().replace('"area": 200.0', '"area": 201.0', 1))
    data = DataConfig(val_images=tmp_path / "val", val_annotations=other)
    with caplog.at_level(logging.WARNING, logger="maskx"):
        report(ReportConfig(out=out), runs, data, overwrite=True)
    assert "measured against other annotations" in out.read_text(encoding="utf-8")
    assert "no gallery" in caplog.text
    report(ReportConfig(out=out), runs, DataConfig(val_annotations=tmp_path / "no.json"), overwrite=True)
    text = out.read_text(encoding="utf-8")
    assert "There is no gallery." in text
    assert "no.json" in text
    assert Page(text).all("svg")


def test_a_single_run_is_a_report_too(study: Study, tmp_path: Path) -> None:
    """There is nothing to compare with, but all else."""
    path = report(ReportConfig(out=tmp_path / "r.html"), [study.transfer], data_of(study))
    page = Page(path.read_text(encoding="utf-8"))
    assert "no other run among these" in " ".join(page.texts["p"])
    assert len([image for image in page.all("img") if "src" in image]) == 6


def test_a_file_is_not_replaced_unless_asked(study: Study, tmp_path: Path) -> None:
    """As everywhere."""
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"report\.html exists"):
        report(ReportConfig(out=out), [study.transfer], data_of(study))
    assert out.read_text() == "mine"


def test_the_size_is_told_and_a_large_file_warned_of(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mail programs refuse large files."""
    config = ReportConfig(out=tmp_path / "report.html", images=1)
    with caplog.at_level(logging.INFO, logger="maskx"):
        report(config, [study.transfer], data_of(study))
    assert re.search(r"report\.html: 0\.\d MB, images: 1\b", caplog.text)
    assert "larger than" not in caplog.text
    monkeypatch.setattr("maskx_pipeline.stages.report._LARGE", 10_000)
    with caplog.at_level(logging.INFO, logger="maskx"):
        report(config, [study.transfer], data_of(study), overwrite=True)
    assert "give a smaller --images" in caplog.text


def test_the_command_writes_it_into_the_project(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """With the options of the command line; stdout holds the path alone."""
    project = study.project
    arguments = ["--project", str(project), "--out", str(project / "r.html"), "--images", "2"]
    assert run(["report", str(study.baseline), str(study.transfer), *arguments]) == 0
    assert capsys.readouterr().out == f"{project / 'r.html'}\n"
    assert len([tag for tag in Page((project / "r.html").read_text(encoding="utf-8")).tags if tag[0] == "article"]) == 2
    assert run(["report", str(project), *arguments]) == 1
