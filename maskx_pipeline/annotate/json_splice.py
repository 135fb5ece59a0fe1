"""Changing single values in the text of a JSON file, so that every other byte of it stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")


class Span(NamedTuple):
    """A value and where it stands: ``text[start:end]``."""

    start: int
    end: int
    value: Any


def list_spans(text: str, key: str) -> Iterator[Span]:
    """The entries of the list that the object of the whole text holds under ``key``, in their order.

    Args:
        text: Sound JSON that holds an object, without a byte order mark.
        key: Of the list. Where it is given twice the last one counts, as in Python's own reader.

    Raises:
        KeyError: There is no such list.
    """
    members = _members(text, _after_space(text, 0))
    if key not in members or text[members[key].start] != "[":
        raise KeyError(key)
    at = _after_space(text, members[key].start + 1)
    while text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        yield Span(at, end, value)
        at = _after_comma(text, end)


def with_members(text: str, changes: Mapping[str, Any], *, without: Collection[str] = ()) -> str:
    """The text of an object with the values of some keys replaced in their places; new keys are added at its end.

    All other keys, values and white space keep their text.

    Args:
        text: Sound JSON: an object that is not empty, without space around it.
        changes: Key to new value.
        without: Keys to leave out, with the comma before them; the first key of the object stays.
    """
    members = _members(text, 0)
    spans = sorted(members.values())
    comma = _COMMA.match(text, spans[0].end)
    between = comma.group() if comma else ", "
    colon = text[: spans[0].start].rpartition(":")[2]  # the space behind it
    separators = (",", ":") if between == "," else (", ", ": ")
    dumped = {key: json.dumps(value, separators=separators, allow_nan=False) for key, value in changes.items()}
    pieces, at = [], 0
    before = {after: one.end for one, after in pairwise(spans)}
    for span, key in sorted((span, key) for key, span in members.items() if key in changes or key in without):
        if key in changes:
            pieces += [text[at : span.start], dumped[key]]
        elif span in before:
            pieces.append(text[at : before[span]])
        else:
            continue
        at = span.end
    pieces.append(text[at : spans[-1].end])
    pieces += [f"{between}{json.dumps(key)}:{colon}{dumped[key]}" for key in changes if key not in members]
    return "".join([*pieces, text[spans[-1].end :]])


def _members(text: str, start: int) -> dict[str, Span]:
    """The places of the values of the object that begins at ``start``, by key."""
    members: dict[str, Span] = {}
    at = _after_space(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _after_space(text, _after_space(text, at) + 1)  # past the colon
        _, end = _DECODER.raw_decode(text, at)
        members[key] = Span(at, end, None)
        at = _after_comma(text, end)
    return members


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _after_comma(text: str, at: int) -> int:
    found = _COMMA.match(text, at)
    return _after_space(text, at) if found is None else found.end()
