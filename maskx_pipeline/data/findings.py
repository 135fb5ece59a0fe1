"""Findings: what is wrong with a data set, summed up by kind."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maskx_pipeline.data.kinds import EMPTY_MASK, ERROR, KINDS, LOST, MISSING, NO_BOXES, NOTE, WARNING, is_grave
from maskx_pipeline.data.records import CocoData
from maskx_pipeline.errors import ConfigError
from maskx_pipeline.settings import unknown_key

_LOG = logging.getLogger("maskx")
_WIDTH = 80
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of thing that is wrong, or worth knowing.

    Attributes:
        part: Where: train, val, train masks, val masks; empty where it is about several.
        count: How many ``unit`` (images, annotations, masks) of how many.
        said: What more is to be said, as a clause: what was done with them, in which categories.
        examples: All of them, each by id and file name.
        accepted: Why an error is none, if the user says so.
    """

    kind: str
    severity: str
    part: str
    count: int
    of: int
    said: str
    advice: str
    examples: tuple[str, ...] = ()
    accepted: str | None = None

    @property
    def unit(self) -> str:
        """What is counted."""
        return KINDS[self.kind].unit

    @property
    def refuses(self) -> bool:
        """Whether nothing should be trained on it."""
        return self.severity == ERROR and self.accepted is None

    def sentence(self) -> str:
        """``train: 30 of 60 images: missing image file, dropped with their annotations``."""
        part = f"{self.part}: " if self.part else ""
        said = f", {self.said}" if self.said else ""
        return f"{part}{self.count} of {self.of} {self.unit}: {self.kind}{said}"

    def to_text(self, *, every: bool = False) -> str:
        """Some lines of at most 80 columns: the sum, examples, what to do."""
        shown = self.examples if every else self.examples[:_EXAMPLES]
        more = f"  and {len(self.examples) - len(shown)} more (--all)" if len(shown) < len(self.examples) else None
        name = "accepted" if self.severity == ERROR and self.accepted is not None else self.severity
        advice = f"accepted: {self.accepted or 'with --accept'}" if name == "accepted" else self.advice
        lines = [_wrapped(f"{name}: {self.sentence()}", after="  ")]
        lines += [_wrapped(f"  {example}", after="    ") for example in shown]
        lines += [more] if more else []
        return "\n".join([*lines, _wrapped(f"  -> {advice}", after="     ")])

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        names = ("kind", "severity", "part", "count", "of", "unit", "said", "advice", "accepted")
        return {name: getattr(self, name) for name in names} | {"examples": list(self.examples)}


def finding(
    kind: str, part: str, *, count: int, of: int, examples: Iterable[str] = (), said: str = "", advice: str = ""
) -> Finding:
    """A finding whose severity and advice are those of its kind; ``advice`` replaces the latter."""
    about = KINDS[kind]
    severity = about.severity
    if severity == LOST:
        severity = ERROR if is_grave(count, of, about.share) else WARNING
    return Finding(kind, severity, part, count, of, said, advice or about.advice, tuple(examples))


def reading_findings(data: CocoData, part: str) -> list[Finding]:
    """What reading a data set dropped or changed, a finding for each kind."""
    groups: dict[tuple[str, str], list[str]] = {}
    for problem in data.problems:
        file = f" ({problem.file_name})" if problem.file_name and problem.file_name not in problem.message else ""
        groups.setdefault((problem.kind, problem.action), []).append(f"{problem.message}{file}")
    totals = {
        "images": data.listed.images,
        "annotations": data.listed.annotations,
        "masks": data.listed.masks + len(groups.get((EMPTY_MASK, "mask treated as absent, box kept"), [])),
    }
    found = []
    for (kind, action), messages in groups.items():
        of = totals[KINDS[kind].unit]
        advice = ""
        if kind == MISSING and any("\\" in message for message in messages):
            advice = f"{KINDS[kind].advice}; a backslash is read as a slash"
        found.append(finding(kind, part, count=len(messages), of=of, examples=messages, said=action, advice=advice))
    return found


def accept(findings: Iterable[Finding], reasons: Mapping[str, str]) -> list[Finding]:
    """Mark the kinds that the user accepts, each with its reason."""
    return [replace(found, accepted=reasons[found.kind]) if found.kind in reasons else found for found in findings]


def accepted_kinds(entries: Iterable[str], flags: Iterable[str] = ()) -> dict[str, str]:
    """The kinds that the user accepts, and why.

    Args:
        entries: ``kind: reason``, of maskx.toml.
        flags: Kinds alone, of the command line.

    Raises:
        ConfigError: An unknown kind, or an entry without a reason.
    """
    names = {_spelling(kind): kind for kind in KINDS}
    reasons = {}
    for entry in (*entries, *(f"{flag}: with --accept" for flag in flags)):
        name, _, reason = entry.partition(":")
        if _spelling(name) not in names:
            raise unknown_key(name.strip(), sorted(KINDS), where="accept", what="kind of finding")
        if not reason.strip():
            raise ConfigError(f"[doctor] accept: `{entry}` has no reason.", f'write "{name.strip()}: why it is right"')
        reasons[names[_spelling(name)]] = reason.strip()
    return reasons


def _spelling(kind: str) -> str:
    return " ".join(kind.lower().replace("-", " ").split())


def log_findings(findings: Sequence[Finding], source: str) -> None:
    """Warn of findings, a line each; notes lose nothing that a user would miss, and are left to `maskx doctor`."""
    for found in findings:
        if found.severity == NOTE or found.kind == NO_BOXES:
            continue
        first = f"; the first: {found.examples[0]}" if found.examples else ""
        accepted = " (accepted)" if found.accepted is not None else ""
        _LOG.warning("%s: %s%s%s", source, found.sentence(), accepted, first)


def _wrapped(text: str, *, after: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=after, break_long_words=True, break_on_hyphens=False)
