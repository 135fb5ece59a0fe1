"""The blocks of code in the pages of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SHELL = ("", "bash", "sh", "shell", "console")


class Block(NamedTuple):
    """What stands between two fences of a page."""

    page: str
    line: int
    language: str
    text: str


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page in their order."""
    line = 1
    for number, part in enumerate(re.split(r"^```", text, flags=re.MULTILINE)):
        if number % 2:
            language, _, block = part.partition("\n")
            yield Block(page, line, language.strip(), block)
        line += part.count("\n")


def prose_of(text: str) -> str:
    """A page without its blocks."""
    return "".join(re.split(r"^```", text, flags=re.MULTILINE)[::2])


def read_page(page: str) -> str:
    """The text of a page, by its path from the root of the repository."""
    return (ROOT / page).read_text(encoding="utf-8")


def commands_of(block: Block) -> list[str]:
    """The lines of a block of shell; one that is continued on the next is whole."""
    return re.split(r"(?<!\\)\n", block.text.strip("\n"))
