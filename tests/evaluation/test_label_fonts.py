"""Letters for pictures, and what stands for those that no font has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from maskx_pipeline.data.records import Category
from maskx_pipeline.evaluation import label_fonts
from maskx_pipeline.evaluation.label_fonts import drawable_name, legend, line_of

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
FRAKTUR = "\U0001d504\U0001d505"  # that STIX has, and DejaVu Sans has not


def named(*names: str) -> list[Category]:
    return [Category(10 * label, name, label) for label, name in enumerate(names, start=1)]


@pytest.fixture
def noto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A system with one Noto font; in truth it is another."""
    path = tmp_path / "deep" / "NotoSansMath-Regular.ttf"
    path.parent.mkdir()
    shutil.copy(FONTS / "STIXGeneral.ttf", path)
    (path.parent / "NotoColorEmoji.ttf").write_bytes(b"no font for letters")
    (path.parent / "NotoSansDamaged-Regular.ttf").write_bytes(b"no font at all")
    monkeypatch.setattr(label_fonts, "_FOLDERS", (str(tmp_path),))
    for cached in (label_fonts._noto_fonts, label_fonts._home_of):
        cached.cache_clear()
    yield path
    for cached in (label_fonts._noto_fonts, label_fonts._home_of):
        cached.cache_clear()


def test_umlauts_cyrillic_and_greek_are_drawn(no_noto: None) -> None:
    """DejaVu Sans has them; names are put on one line."""
    names = [drawable_name(category) for category in named("Bär", "ключ", "σκύλος", "two\nlines")]
    assert names == ["Bär", "ключ", "σκύλος", "two lines"]


def test_what_no_font_has_is_an_id_and_the_legend_says_which(no_noto: None) -> None:
    """But a name that lacks nothing but a symbol is drawn without it."""
    categories = named("犬", "dog \U0001f415", "cat", "\U0001f415", " ")
    assert [drawable_name(category) for category in categories] == ["#10", "dog", "cat", "#40", "#50"]
    assert dict(legend(categories)) == {10: "犬", 40: "\U0001f415", 50: " "}


def test_a_noto_font_of_the_system_has_the_other_letters(noto: Path) -> None:
    """The rest of the line stays in the usual font."""
    (category,) = named(f"a {FRAKTUR} b")
    assert drawable_name(category) == category.name
    line = line_of(f"{category.name} 0.9", 20)
    assert [Path(font.path).name for font, _ in line.parts] == ["DejaVuSans.ttf", noto.name, "DejaVuSans.ttf"]
    assert "".join(text for _, text in line.parts) == f"{category.name} 0.9"


def test_a_line_is_as_wide_as_its_ink_and_stands_around_its_middle() -> None:
    """Against Pillow's own measure of the same font."""
    line = line_of("Haus", 40)
    font = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), 40)
    assert line.width == pytest.approx(font.getlength("Haus"))
    picture = Image.new("L", (200, 100))
    line.draw(ImageDraw.Draw(picture), 20, 50, fill=255)
    rows, columns = np.nonzero(np.asarray(picture) > 128)
    assert abs((rows.min() + rows.max()) / 2 - 50) <= 2
    assert columns.min() >= 20
    assert columns.max() <= 20 + line.width
