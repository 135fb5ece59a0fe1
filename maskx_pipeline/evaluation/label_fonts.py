"""Letters for pictures: DejaVu Sans, then Noto fonts of the system for scripts that it lacks; else ``#id``."""

from __future__ import annotations

import functools
import importlib.util
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ImageDraw, ImageFont

from maskx_pipeline.data.records import Category

_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
_NOTO = "Noto*.[ot]t[fc]"
_SYMBOLS = ("So", "Sk", "Cf", "Cn", "Co", "Cs")  # of Unicode: a name can be read without them, unlike its letters
_BASELINE = 0.36  # below the middle of a line, of the font's size: so that capitals stand in the middle


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, in parts of one font each."""

    parts: tuple[tuple[ImageFont.FreeTypeFont, str], ...]
    size: int

    @property
    def width(self) -> float:
        """In pixels."""
        return sum(font.getlength(text) for font, text in self.parts)

    def draw(self, draw: ImageDraw.ImageDraw, left: float, middle: float, *, fill: Any) -> None:
        """Draw it from ``left`` on, its capitals around the height ``middle``."""
        for font, text in self.parts:
            draw.text((left, middle + _BASELINE * self.size), text, fill=fill, font=font, anchor="ls")
            left += font.getlength(text)


def line_of(text: str, size: int) -> Line:
    """A line of text, each letter in the first font that has it."""
    if text.isascii():
        return Line(((_font(_dejavu(), size), text),), size)
    parts: list[tuple[Path, str]] = []
    for letter in text:
        home = _home_of(letter) or _dejavu()
        if parts and (parts[-1][0] == home or letter.isspace()):
            parts[-1] = (parts[-1][0], parts[-1][1] + letter)
        else:
            parts.append((home, letter))
    return Line(tuple((_font(home, size), part) for home, part in parts), size)


def drawable_name(category: Category) -> str:
    """The name of a category on one line, or ``#id`` where the fonts here lack its letters.

    Symbols that they lack, such as emoji, are left out.
    """
    name = " ".join(category.name.split())
    if not name.isascii():
        missing = {letter for letter in name if not letter.isspace() and _home_of(letter) is None}
        if not all(_is_symbol(letter) for letter in missing):
            return f"#{category.id}"
        name = " ".join("".join(letter for letter in name if letter not in missing).split())
    return name or f"#{category.id}"


def names_to_draw(categories: Iterable[Category]) -> dict[int, str]:
    """By label, what :func:`drawable_name` makes of each."""
    return {category.label: drawable_name(category) for category in categories}


def legend(categories: Iterable[Category]) -> Mapping[int, str]:
    """By id the names of those categories that pictures show as ``#id``."""
    return {c.id: c.name for c in categories if drawable_name(c) == f"#{c.id}" != c.name}


def _is_symbol(letter: str) -> bool:
    return unicodedata.category(letter) in _SYMBOLS or "\ufe00" <= letter <= "\ufe0f"


@functools.cache
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@functools.cache
def _dejavu() -> Path:
    """That of matplotlib, which is not imported for it."""
    package = importlib.util.find_spec("matplotlib")
    home = Path((package and package.origin) or "").parent
    return home / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


@functools.cache
def _home_of(letter: str) -> Path | None:
    """The first font that has a letter."""
    return next((path for path in (_dejavu(), *_noto_fonts()) if ord(letter) in _letters(path)), None)


@functools.cache
def _letters(path: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font  # takes a second, and names are mostly ASCII

    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):  # damaged, or of a kind that FreeType does not read
        return frozenset()


@functools.cache
def _noto_fonts() -> tuple[Path, ...]:
    """Those of the system that are drawn in one colour, regular ones of Noto Sans first."""
    found = [path for folder in _font_folders() for path in folder.rglob(_NOTO) if "Emoji" not in path.name]
    return tuple(sorted(found, key=lambda path: ("Regular" not in path.name, "Sans" not in path.name, path.name)))


def _font_folders() -> Iterator[Path]:
    named = os.environ.get("XDG_DATA_HOME")
    for folder in (*_FOLDERS, *([f"{named}/fonts"] if named else [])):
        if (path := Path(folder).expanduser()).is_dir():
            yield path
