"""Puts the pictures of a contact sheet together: a column per image, a row per model, all cells of one size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from maskx_pipeline.evaluation.label_fonts import Line, line_of
from maskx_pipeline.evaluation.overlays import SEEN_COLOURS, UNSEEN_COLOURS, stripes
from maskx_pipeline.provenance.files import atomic_path, check_ending
from maskx_pipeline.provenance.seals import append_seal

if TYPE_CHECKING:
    from maskx_pipeline.study.contact_sheet import SheetRow

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

_GAP = 8
_MARGIN = 16
_NAME_SIZE, _CAPTION_SIZE, _KEY_SIZE = 24, 17, 20
_KEY_INDENT, _KEY_GAP = 28, 40
_INK, _GREY = (34, 34, 34), (110, 110, 110)
_KEY = (
    (SEEN_COLOURS[0], False, "seen: its masks were trained on"),
    (UNSEEN_COLOURS[0], True, "unseen, hatched: only its boxes were"),
)


def lay_out(rows: Sequence[SheetRow], captions: Sequence[str], *, columns: int) -> Image.Image:
    """Lay the pictures out; after ``columns`` images the rows begin anew below.

    Args:
        rows: From top to bottom; each has a picture for every image.

    Returns:
        An RGB picture on white.
    """
    columns = min(columns, len(captions))
    pictures = [picture for row in rows for picture in row.pictures]
    cell = (max(picture.width for picture in pictures), max(picture.height for picture in pictures))
    left = _MARGIN + _line(_NAME_SIZE)
    block = _line(_CAPTION_SIZE) + len(rows) * (cell[1] + _GAP)
    blocks = -(-len(captions) // columns)
    width = left + max(columns * (cell[0] + _GAP) - _GAP, _key_width()) + _MARGIN
    height = _MARGIN + blocks * (block + _GAP) + _line(_KEY_SIZE) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, caption in enumerate(captions):
        x = left + index % columns * (cell[0] + _GAP)
        y = _MARGIN + index // columns * (block + _GAP)
        line = _fitted(caption, _CAPTION_SIZE, cell[0])
        line.draw(draw, x + (cell[0] - line.width) / 2, y + _CAPTION_SIZE / 2, fill=_GREY)
        y += _line(_CAPTION_SIZE)
        for row in rows:
            picture = row.pictures[index]
            sheet.paste(picture, (x + (cell[0] - picture.width) // 2, y + (cell[1] - picture.height) // 2))
            if index % columns == 0:
                sheet.paste(_upright(row.name, cell[1]), (_MARGIN // 2, y))
            y += cell[1] + _GAP
    _draw_key(sheet, draw, left, height - _MARGIN - _KEY_SIZE)
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a sheet; the ending of the file, one of :data:`FORMATS`, is its format."""
    check_ending(path, FORMATS)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format=FORMATS[path.suffix.lower()], quality=95, subsampling=0)
        append_seal(temporary)


def _upright(name: str, length: int) -> Image.Image:
    """The name of a row as a strip to be read from below."""
    strip = Image.new("RGB", (length, _line(_NAME_SIZE)), "white")
    draw = ImageDraw.Draw(strip)
    line = _fitted(name, _NAME_SIZE, length)
    line.draw(draw, (length - line.width) / 2, strip.height / 2, fill=_INK)
    return strip.transpose(Image.Transpose.ROTATE_90)


def _draw_key(sheet: Image.Image, draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    side = _KEY_SIZE - 2
    for colour, is_hatched, text in _KEY:
        swatch = Image.new("RGB", (side, side), colour)
        if is_hatched:
            paler = Image.fromarray(~stripes(side, side, 1.5))
            swatch.paste(Image.blend(swatch, Image.new("RGB", swatch.size, "white"), 0.6), mask=paler)
        sheet.paste(swatch, (round(x), round(y) + 1))
        line_of(text, _KEY_SIZE).draw(draw, x + _KEY_INDENT, y + _KEY_SIZE / 2, fill=_INK)
        x += _KEY_INDENT + line_of(text, _KEY_SIZE).width + _KEY_GAP


def _key_width() -> int:
    return math.ceil(sum(_KEY_INDENT + line_of(text, _KEY_SIZE).width + _KEY_GAP for *_, text in _KEY)) - _KEY_GAP


def _fitted(text: str, size: int, width: float) -> Line:
    """The text, in a smaller font if need be, and cut in its middle where even that does not fit."""
    smallest = size // 2
    while size > smallest and line_of(text, size).width > width:
        size -= 1
    kept = len(text)
    shown = text
    while kept > 2 and line_of(shown, size).width > width:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
    return line_of(shown, size)


def _line(size: int) -> int:
    return round(1.5 * size)
