"""Each `maskx ...` of the documentation is a command that exists, with options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from docs_pages import ROOT, SHELL, blocks_of, prose_of

from maskx_pipeline.commands import cli
from maskx_pipeline.project import read_project

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "pipelines").glob("*.md")])
CHECKED = (click.Choice, click.types.IntParamType, click.types.FloatParamType)
NAMED = "[<{]|\\.\\.\\.|\\[OPTIONS"  # of a usage line, where words stand for others

_INNER = re.compile(r"\$\(([^()]*)\)")


class Line(NamedTuple):
    """A command as written; ``runs`` if it is in a block to be run, and not part of a sentence."""

    page: str
    words: tuple[str, ...]
    runs: bool


def lines_of(page: str, text: str) -> Iterator[Line]:
    """The commands in the blocks of a page, and those between backticks."""
    for block in blocks_of(page, text):
        if block.language in SHELL:
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from (Line(page, words, True) for words in _calls(line))
    for span in re.findall(r"`([^`]*)`", prose_of(text)):
        if not re.search(NAMED, span):
            yield from (Line(page, words, False) for words in _calls(" ".join(span.split())))


def _calls(text: str) -> Iterator[tuple[str, ...]]:
    """The words after `maskx`, or `-m maskx_pipeline`, wherever a command begins in a line of shell."""
    if "maskx" not in text:
        return
    for inner in _INNER.findall(text):
        yield from _calls(inner)
    lexer = shlex.shlex(_INNER.sub("$VALUE", text), posix=True, punctuation_chars=";&|()<>")
    lexer.wordchars += "@+=$*,!%:"
    lexer.commenters = "#"
    try:
        tokens = [*lexer, ";"]
    except ValueError:  # an apostrophe in what is no command
        return
    call: list[str] | None = None
    for before, token in zip([";", *tokens], tokens, strict=False):
        is_end = set(token) <= set(";&|()<>")
        if call is not None and is_end:
            yield tuple(call)
            call = None
        elif call is not None:
            call.append(token)
        elif (token, before) == ("maskx_pipeline", "-m") or (
            token == "maskx" and (set(before) <= set(";&|()") or before in ("do", "then", "!"))
        ):
            call = []


def fault_of(line: Line) -> str | None:
    """What the command line would say against a command; values are compared with choices and numbers only."""
    command: click.Command = cli
    words = list(line.words)
    while isinstance(command, click.Group):
        context = click.Context(command)
        if not words or words[0].startswith("-"):
            return None
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]}"
        command = found
        words.pop(0)
    context = click.Context(command)
    try:
        values, rest, _ = command.make_parser(context).parse_args(words)
        for item in command.params:
            value = values.get(item.name or "")
            if isinstance(item, click.Option):
                if isinstance(value, str) and "$" not in value and isinstance(item.type, CHECKED):
                    item.type.convert(value, item, context)
            elif line.runs and item.required and not (isinstance(value, str | tuple | list) and value):
                return f"without {item.name}"
    except click.BadOptionUsage as error:
        return error.format_message() if line.runs or isinstance(error, click.NoSuchOption) else None
    except click.UsageError as error:
        return error.format_message()
    return f"too many words: {rest}" if rest else None


def test_every_command_in_the_documentation_is_one() -> None:
    """Known commands, known options, values among the choices; in all pages."""
    faults = [
        f"{line.page}: maskx {' '.join(line.words)}: {fault}"
        for page in PAGES
        for line in lines_of(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))
        if (fault := fault_of(line))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/how-to/your-dataset.md"])
def test_the_commands_are_found(page: str) -> None:
    """So that the test above looks at something."""
    found = {line.words[:2] for line in lines_of(page, (ROOT / page).read_text(encoding="utf-8")) if line.runs}
    assert ("detect", "train") in found
    assert any(words[0] == "evaluate" for words in found)


def test_the_road_of_a_new_user_has_every_stage() -> None:
    """From one's own data to an annotated file, a report and a model for elsewhere."""
    page = "docs/how-to/your-dataset.md"
    found = {line.words[0] for line in lines_of(page, (ROOT / page).read_text(encoding="utf-8")) if line.runs}
    wanted = {"init", "doctor", "detect", "export-embeddings", "fit-transfer", "evaluate", "annotate", "report"}
    assert wanted | {"export-model"} <= found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```\nmaskx evaluat\n```", "no command evaluat"),
        ("```bash\ncd x && maskx detect train --lrr 1\n```", "--lrr"),
        ("```\nmaskx fit-transfer \\\n  --embedding clss\n```", "clss"),
        ("```\nmaskx detect train --iterations many\n```", "many"),
        ("```\nmaskx annotate\n```", "without"),
        ("```\nmaskx evaluate one two\n```", "too many words"),
        ('```\nmaskx compare "$(maskx fit-transfer --no-such 1)"\n```', "--no-such"),
        ("```\ntorchrun --nproc-per-node 2 -m maskx_pipeline detect trian\n```", "no command trian"),
        ("Give `maskx evaluate --modell RUN`.", "--modell"),
    ],
)
def test_a_wrong_command_would_be_found(text: str, fault: str) -> None:
    """In a block, after another command, over two lines, inside another, under torchrun, in a sentence."""
    faults = [found for line in lines_of("page", text) if (found := fault_of(line))]
    assert any(fault in found for found in faults), faults


@pytest.mark.parametrize("text", ["```toml\nmaskx nonsense\n```", "`maskx evaluate --model`", "about maskx and masks"])
def test_what_is_no_command_is_left_alone(text: str) -> None:
    """Other languages, options that a sentence names, and the name of the program."""
    assert [fault for line in lines_of("page", text) if (fault := fault_of(line))] == []


def test_settings_in_the_documentation_are_read(tmp_path: Path) -> None:
    """Each block of TOML is a maskx.toml without unknown tables, keys or kinds of values."""
    blocks = [
        block
        for path in PAGES
        for block in blocks_of(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        if block.language == "toml"
    ]
    assert blocks
    for block in blocks:
        (tmp_path / "maskx.toml").write_text(block.text, encoding="utf-8")
        read_project(tmp_path)
